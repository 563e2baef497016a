# shellcheck shell=bash
# Brings libtorch, on which the models compute, to this machine: one pinned version, each file checked against its sum.
# Part of `dev`, which brings `say`, `stop`, `has`, `need`, `fetch_list` and `pypi_files`.
#
# Python's registry has no build for processors alone. The one for graphics cards computes on processors as well, once the
# two small libraries that it is linked with are beside it; what only cards need, most of it, stays behind.

libtorch_source=pipeline/libtorch
libtorch_home=${STREAMFORGE_LIBTORCH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/streamforge}/libtorch-2.13.0

libtorch_needs() {
    cat <<'NEEDS'
has curl|curl
test -e /etc/ssl/certs/ca-certificates.crt|ca-certificates
has unzip|unzip
NEEDS
}

# Whether this machine has a libtorch or can get one. `LIBTORCH` names one that somebody else installed.
is_libtorch_possible() {
    [ -n "${LIBTORCH-}" ] || [ -d "$libtorch_home" ] || grep -q -F "_$(uname -m).whl" "$libtorch_source/wheels.sha256"
}

# Puts libtorch where `.cargo/config.toml` says that it is.
need_libtorch() {
    [ -z "${LIBTORCH-}" ] || return 0
    [ -d "$libtorch_home" ] || fetch_libtorch
    [ "$(readlink .dev/libtorch)" != "$libtorch_home" ] || return 0
    mkdir -p .dev
    ln -sfn "$libtorch_home" .dev/libtorch
}

fetch_libtorch() {
    need "$(libtorch_needs)"
    local wheels=$libtorch_home-wheels part=$libtorch_home.part library
    say "fetching libtorch: 540 MB once, 500 MB to keep"
    fetch_list "$wheels" "$libtorch_source/wheels.sha256" "$pypi_files"
    rm -rf "$part"
    mkdir -p "$part/lib"
    unzip -q "$wheels"/torch-*.whl 'torch/include/*' -d "$part"
    mv "$part/torch/include" "$part/include"
    rm -r "$part/torch"
    for library in libtorch_cpu.so libc10.so libgomp.so.1; do
        unzip -q -j "$wheels"/torch-*.whl "torch/lib/$library" -d "$part/lib"
    done
    unzip -q -j "$wheels"/nvidia_cuda_runtime-*.whl '*/libcudart.so.13' -d "$part/lib"
    unzip -q -j "$wheels"/nvidia_cuda_cupti-*.whl '*/libcupti.so.13' -d "$part/lib"
    # The original asks for the libraries of the cards.
    cc -shared -o "$part/lib/libtorch.so" -Wl,-soname,libtorch.so -Wl,--no-as-needed -L"$part/lib" -ltorch_cpu -lc10 ||
        stop "cannot link libtorch" "look at what the linker says"
    printf '2.13.0\n' >"$part/build-version"
    mv "$part" "$libtorch_home"
    rm -rf "$wheels"
}
