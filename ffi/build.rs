//! Gives the shared library its SONAME, and a link of that name beside it in the build folder.

use std::path::PathBuf;

/// Raised with `LQ_ABI_VERSION`, whenever a program built against the header before it would break.
const SONAME: &str = "libqueue.so.0";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        return;
    }
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,{SONAME}");
    link_soname();
}

/// Programs look for the SONAME when they start. Cargo only makes `libqueue.so`, so without this
/// nothing linked to the build folder would run; an installed library has the link from `install`.
fn link_soname() {
    let Some(out) = std::env::var_os("OUT_DIR").map(PathBuf::from) else {
        return;
    };
    // OUT_DIR is PROFILE/build/PACKAGE-HASH/out.
    let Some(profile) = out.ancestors().nth(3) else {
        return;
    };
    let link = profile.join(SONAME);
    #[cfg(unix)]
    if link.symlink_metadata().is_err()
        && let Err(error) = std::os::unix::fs::symlink("libqueue.so", &link)
        && link.symlink_metadata().is_err()
    {
        println!("cargo::warning=cannot link {}: {error}", link.display());
    }
}
