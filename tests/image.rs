//! The image that `deploy/Dockerfile` describes, built without a network: the binary, and nothing else.
//!
//! `./test image` links the binary as the Dockerfile asks for, without an optimising build, and names it in
//! `IRONLB_IMAGE_BINARY`. Building an image needs buildah and root.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails where something is not as it should be"
)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

#[test]
fn the_image_holds_the_binary_alone_and_runs_it_as_nobody() {
    let Some(binary) = std::env::var_os("IRONLB_IMAGE_BINARY") else {
        ironlb_lab::skip("IRONLB_IMAGE_BINARY names no binary; `./test image` does");
        return;
    };
    let images = Images::default();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let context = images.directory.path().join("context");
    fs::create_dir(&context).unwrap();
    fs::copy(binary, context.join("ironlb")).unwrap();
    let dockerfile = folder.join("Dockerfile");
    images.buildah(&[
        "bud",
        "--isolation=chroot",
        "--tag=ironlb",
        &format!("--file={}", dockerfile.display()),
        &context.display().to_string(),
    ]);

    let image: Value =
        serde_json::from_str(&images.buildah(&["inspect", "--type=image", "ironlb"])).unwrap();
    let config = &image["OCIv1"]["config"];
    assert_eq!(config["User"], "65534:65534");
    assert_eq!(config["Entrypoint"], json!(["/ironlb"]));
    assert_eq!(config["Cmd"], Value::Null);
    assert_eq!(config["Volumes"], Value::Null);
    let layers = &image["OCIv1"]["rootfs"]["diff_ids"];
    assert_eq!(layers.as_array().unwrap().len(), 1, "{layers}");

    let container = images.buildah(&["from", "ironlb"]);
    let root = images.buildah(&["mount", container.trim()]);
    let root = PathBuf::from(root.trim());
    assert_eq!(files(&root), [root.join("ironlb")]);
    let binary = fs::symlink_metadata(root.join("ironlb")).unwrap();
    assert_eq!(binary.permissions().mode(), 0o100_755);
    assert_eq!((binary.uid(), binary.gid()), (0, 0));

    // There is nothing to link it with.
    let version = images.buildah(&[
        "run",
        "--isolation=chroot",
        container.trim(),
        "--",
        "/ironlb",
        "--version",
    ]);
    assert_eq!(
        version.trim(),
        concat!("ironlb ", env!("CARGO_PKG_VERSION"))
    );
}

/// A store of images of its own, which is removed with its containers.
struct Images {
    directory: TempDir,
}

impl Default for Images {
    fn default() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }
}

impl Images {
    /// Runs buildah, and gives what it prints.
    fn buildah(&self, arguments: &[&str]) -> String {
        let part = |name: &str| self.directory.path().join(name);
        let output = Command::new("buildah")
            .args(["--storage-driver=vfs", "--root"])
            .arg(part("root"))
            .arg("--runroot")
            .arg(part("run"))
            .args(arguments)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "buildah {}: {}{}",
            arguments.join(" "),
            text(&output.stdout),
            text(&output.stderr)
        );
        text(&output.stdout)
    }
}

/// Everything below a directory, directories too.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            found.extend(files(&path));
        }
        found.push(path);
    }
    found
}
