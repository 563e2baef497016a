# shellcheck shell=bash
# Builds the web page with Node; read by ./dev, which has `need`, `say` and `stop`.

page=pipeline/page

# What the page is built with.
page_needs() {
    cat <<'NEEDS'
has node|nodejs
has npm|npm
NEEDS
}

# Whether the page is there and nothing that it is made of is newer. Without it a build needs no Node.
is_page_built() {
    [ "${STREAMFORGE_PAGE-yes}" != no ] || return 0
    [ -f "$page/dist/index.html" ] && [ -d "$page/src" ] && [ -z "$(find "$page" \
        \( -name node_modules -o -name dist -o -name build \) -prune -o -type f -newer "$page/dist/index.html" -print -quit)" ]
}

# Builds the page, which the program carries.
build_page() {
    is_page_built && return
    say "building the page"
    need_page_packages
    (cd "$page" && npm run --silent build >&2) || stop "the page does not build" "mend what is said above"
}

# The npm packages of the page, just those that its lock file names.
need_page_packages() { need_packages "$page"; }

# Those and the validators that tests need.
need_check_packages() {
    need_page_packages
    need_packages "$page/checks/contracts"
}

need_packages() { # a folder with a lock file
    need "$(page_needs)"
    [ ! "$1/node_modules/.package-lock.json" -nt "$1/package-lock.json" ] || return 0
    (cd "$1" && npm ci --no-audit --no-fund --loglevel=error >&2) ||
        stop "cannot fetch the packages of $1" "look at the network, then run it again"
    touch "$1/node_modules/.package-lock.json"
}
