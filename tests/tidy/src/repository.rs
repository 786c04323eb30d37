//! All files of the repository, read once, and what cargo knows of its packages.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A text file.
#[derive(Debug, Clone)]
pub struct File {
    /// From the top of the repository, with `/`.
    pub path: String,
    /// Its whole text.
    pub text: String,
}

impl File {
    /// Its lines, counted from one.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// Whether its name ends like this.
    pub fn is(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }
}

/// What a package depends on.
#[derive(Debug, Clone)]
pub struct Dependency {
    /// The package depended upon.
    pub name: String,
    /// Whether it is of this workspace.
    pub ours: bool,
    /// `normal`, `dev` or `build`.
    pub kind: String,
    /// The features that it is asked for.
    pub features: Vec<String>,
}

/// A package of the workspace.
#[derive(Debug, Clone)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its folder, from the top of the repository.
    pub folder: String,
    /// What its manifest names.
    pub dependencies: Vec<Dependency>,
}

/// The files and packages under the top folder.
#[derive(Debug)]
pub struct Repository {
    /// The top folder.
    pub root: PathBuf,
    /// Every text file, but none of `target` and none of git's own.
    pub files: Vec<File>,
    /// Every package of the workspace.
    pub packages: Vec<Package>,
}

impl Repository {
    /// Reads this repository.
    ///
    /// # Panics
    /// When the files cannot be read or cargo does not answer: then there is nothing to test.
    pub fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("we are in it");
        let mut files = Vec::new();
        walk(&root, &root, &mut files);
        files.sort_by(|a, b| a.path.cmp(&b.path));
        assert!(files.len() > 100, "only {} files read under {}", files.len(), root.display());
        let packages = packages(&root);
        Self { root, files, packages }
    }

    /// The Rust sources.
    pub fn sources(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.is("rs"))
    }

    /// The Rust sources in a package's folder.
    pub fn sources_of(&self, package: &Package) -> impl Iterator<Item = &File> {
        let folder = format!("{}/", package.folder);
        self.sources().filter(move |file| file.path.starts_with(&folder))
    }

    /// One file by its path.
    pub fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// The manifests of the packages.
    pub fn manifests(&self) -> impl Iterator<Item = (&Package, &File)> {
        self.packages.iter().map(|package| {
            let path = format!("{}/Cargo.toml", package.folder);
            (package, self.file(&path).expect("cargo named this package, so its manifest is there"))
        })
    }
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<File>) {
    for entry in std::fs::read_dir(folder).expect("a folder of the repository can be read") {
        let path = entry.expect("a folder of the repository can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_symlink() || name == ".git" || (name == "target" && folder == root) {
            continue;
        }
        if path.is_dir() {
            walk(root, &path, files);
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            let path = path.strip_prefix(root).expect("we walk below it").to_string_lossy().into_owned();
            files.push(File { path, text });
        }
    }
}

fn packages(root: &Path) -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root)
        .output()
        .expect("cargo runs: it built this test");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata writes JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    list(&metadata["packages"])
        .iter()
        .map(|package| {
            let manifest = PathBuf::from(text(&package["manifest_path"]));
            let folder = manifest.parent().and_then(|folder| folder.strip_prefix(root).ok());
            Package {
                name: text(&package["name"]),
                folder: folder.expect("packages lie in the workspace").to_string_lossy().into_owned(),
                dependencies: list(&package["dependencies"])
                    .iter()
                    .map(|dependency| Dependency {
                        name: text(&dependency["name"]),
                        ours: dependency["path"].is_string(),
                        kind: dependency["kind"].as_str().unwrap_or("normal").to_owned(),
                        features: list(&dependency["features"]).iter().map(text).collect(),
                    })
                    .collect(),
            }
        })
        .collect()
}
