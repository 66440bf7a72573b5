//! Deaths and power losses while dead letters are redriven, purged, and die again: at each event a
//! message is dead or redriven, never neither and never both (P12).
