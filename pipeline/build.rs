//! Tells the linker where programs find libtorch when they run, and packs the web page into the program.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

/// Where `./dev` builds the page.
const PAGE: &str = "page/dist";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    pack_page()?;
    find_libtorch();
    Ok(())
}

/// Writes the table of the page's files, each as it is and compressed; an empty one when nobody has built the page, so that a
/// build of the program alone needs no Node.
fn pack_page() -> Result<(), Box<dyn std::error::Error>> {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo names no OUT_DIR")?);
    let built = Path::new(PAGE).join("index.html").is_file();
    // Without the folder there is nothing to watch but the place where it will be.
    println!("cargo::rerun-if-changed={}", if built { PAGE } else { "page" });
    let mut names = Vec::new();
    if built {
        for entry in std::fs::read_dir(PAGE)? {
            names.push(entry?.file_name().into_string().map_err(|_| "a file of the page has an odd name")?);
        }
    }
    names.sort();
    let mut table = "static FILES: &[File] = &[\n".to_owned();
    for name in names {
        let path = Path::new(PAGE).join(&name).canonicalize()?;
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(&std::fs::read(&path)?)?;
        let packed_path = out.join(format!("{name}.gz"));
        std::fs::write(&packed_path, packed.finish()?)?;
        writeln!(
            table,
            "    File {{ name: {name:?}, bytes: include_bytes!({path:?}), packed: include_bytes!({packed_path:?}) }},"
        )?;
    }
    table.push_str("];\n");
    std::fs::write(out.join("page.rs"), table)?;
    Ok(())
}

fn find_libtorch() {
    if std::env::var_os("CARGO_FEATURE_ML").is_none() {
        return;
    }
    // A program that was moved, as in an image, brings it along.
    println!("cargo::rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib/streamforge");
    let Some(libtorch) = std::env::var_os("LIBTORCH") else { return };
    if let Ok(folder) = Path::new(&libtorch).join("lib").canonicalize() {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{}", folder.display());
    }
}
