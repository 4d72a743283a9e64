//! The binary as it is shipped.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use sha2::{Digest, Sha256};

/// Builds the stripped static binary, as `deploy/Dockerfile` says, and gives its path. The first time takes minutes; what was
/// built is kept beside what `./test` keeps, for as long as dependencies and compiler stay the same. IRONLB_BINARY names another that
/// is to be measured in its place.
pub(crate) fn binary() -> anyhow::Result<PathBuf> {
    if let Some(other) = std::env::var_os("IRONLB_BINARY") {
        return Ok(std::path::absolute(other)?);
    }
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let cache = cache().context("neither IRONLB_CACHE nor HOME says where to build")?;
    let target = format!("dist-{}", key(&checkout)?);
    remove_others(&cache, &target)?;
    let target = cache.join(target);
    eprintln!(
        "building the binary as it is shipped in {}",
        target.display()
    );
    let status = Command::new("nice")
        .args(["-n", "10", env!("CARGO"), "build", "--locked", "--quiet"])
        .args([
            "-p",
            "ironlb",
            "--bin",
            "ironlb",
            "--profile",
            "dist",
            "--target",
            TARGET,
        ])
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env("CARGO_TARGET_DIR", &target)
        .current_dir(checkout)
        .status()
        .context("start cargo")?;
    anyhow::ensure!(status.success(), "the binary does not build: {status}");
    Ok(target.join(TARGET).join("dist/ironlb"))
}

fn cache() -> Option<PathBuf> {
    let own = std::env::var_os("IRONLB_CACHE").map(PathBuf::from);
    own.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/ironlb")))
}

fn key(checkout: &Path) -> anyhow::Result<String> {
    let mut hash = Sha256::new();
    for name in ["Cargo.lock", "rust-toolchain.toml"] {
        hash.update(std::fs::read(checkout.join(name)).with_context(|| format!("read {name}"))?);
    }
    let rustc = Command::new("rustc")
        .arg("-vV")
        .current_dir(checkout)
        .output();
    hash.update(rustc.context("ask rustc for its version")?.stdout);
    Ok(hash
        .finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// Removes what was built with other dependencies or another compiler.
fn remove_others(cache: &Path, wanted: &str) -> io::Result<()> {
    std::fs::create_dir_all(cache)?;
    for entry in std::fs::read_dir(cache)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with("dist-") && *name != *wanted {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// With a target, the flags are not for what runs while building, such as procedural macros, which cannot be static.
const TARGET: &str = if cfg!(target_arch = "aarch64") {
    "aarch64-unknown-linux-gnu"
} else {
    "x86_64-unknown-linux-gnu"
};
