//! Opening, joining, dying, forking.
