# shellcheck shell=bash
# Runs Kafka, Cassandra, SeaweedFS, Prometheus and a schema registry on this machine, without containers. Part of `dev`.
#
# All state of a set of engines lies in one folder: configuration, data, logs, pids, ports. Two folders are two sets that
# do not know each other, so a test that kills an engine has its own.

# shellcheck source=connectors/engines/fetch.sh
. connectors/engines/fetch.sh

all_engines=(kafka cassandra seaweedfs prometheus)
# Started when it is named, and then used by whoever uses the set.
more_engines=(registry)
declare -A port
s3_key=streamforge s3_secret=streamforge s3_bucket=streamforge

engines_help() {
    cat <<'HELP'
./dev engines up [--data DIR] [--free-ports] [ENGINE...]   start what does not run yet, and wait until it answers
./dev engines down [--data DIR] [ENGINE...]                stop with SIGTERM, and wait
./dev engines kill [--data DIR] ENGINE...                  stop with SIGKILL, as a crash would
./dev engines status [--data DIR]                          address, pid, memory and health of each; 1 unless all are well
./dev engines env [--data DIR] [tests|pipeline]            what to export so that tests or the pipeline use them
./dev engines fetch [ENGINE...] [clients]                  bring them to this machine, and start nothing

Engines: kafka cassandra seaweedfs prometheus; all of them when none is named. Beside them registry, a schema registry that
keeps what it has in Kafka. DIR is .dev/engines, or what STREAMFORGE_ENGINES_DATA says. Two folders are two sets of engines. A port that is taken is replaced by a free one;
--free-ports takes free ones from the start. `clients` are other people's programs that tests read and write topics with.
HELP
}

# ---------------------------------------------------------------------------------------------------------------------
# Ports

# Each engine's ports and what is tried first. Below 32768, where the kernel takes ports for outgoing connections, except
# for S3. PROXY is where clients of Kafka's second listener are sent; nobody listens there until a test does.
ports_of() {
    case $1 in
    kafka) echo KAFKA=19092 CONTROLLER=19093 PROXIED=19094 PROXY=19194 ;;
    cassandra) echo CQL=19042 GOSSIP=17000 GOSSIP_TLS=17001 ;;
    seaweedfs)
        echo S3=38333 S3_GRPC=28333 MASTER=19333 MASTER_GRPC=29333 VOLUME=18080 VOLUME_GRPC=28080 FILER=18888 \
            FILER_GRPC=28888 WEED_METRICS=19327
        ;;
    prometheus) echo PROMETHEUS=19090 ;;
    registry) echo REGISTRY=19095 ;;
    esac
}

load_ports() {
    local name number
    port=()
    [ -e "$engines_data/ports" ] || return 0
    while IFS='=' read -r name number; do
        port[$name]=$number
    done <"$engines_data/ports"
}

save_ports() {
    local name
    for name in "${!port[@]}"; do
        printf '%s=%s\n' "$name" "${port[$name]}"
    done | sort >"$engines_data/ports"
}

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Gives each port of an engine that does not run a number that is free now.
choose_ports() {
    local pair name number first
    for pair in $(ports_of "$1"); do
        name=${pair%=*} first=${port[${pair%=*}]-}
        if [ -z "$first" ] && $free_ports; then
            first=$((20000 + RANDOM % 8000))
        fi
        # Nobody listens on PROXY, so that it is taken cannot be seen; it goes with its listener.
        if [ "$name" = PROXY ] && [ "${port[PROXIED]}" != 19094 ] && [ -z "$first" ]; then
            first=$((20000 + RANDOM % 8000))
        fi
        number=${first:-${pair#*=}} first=${first:-${pair#*=}}
        # Whoever listens on PROXY is what it is for; an engine that comes back must find clients where they were sent before.
        [ "$name" != PROXY ] || [ -z "${port[PROXY]-}" ] || continue
        while listens "$number" || is_given "$name" "$number"; do
            number=$((20000 + RANDOM % 8000))
        done
        # Of the ports that only the engine itself uses nobody wants to know.
        [ "$number" = "$first" ] || [[ ! $name =~ ^(KAFKA|CQL|S3|PROMETHEUS|REGISTRY)$ ]] || say "$1: port $first is taken, using $number"
        port[$name]=$number
    done
}

is_given() { # whether another name than this one has this number
    local other
    for other in "${!port[@]}"; do
        [ "$other" = "$1" ] || [ "${port[$other]}" != "$2" ] || return 0
    done
    return 1
}

# ---------------------------------------------------------------------------------------------------------------------
# Processes

# Copies a configuration with ports and folders filled in: from, to.
fill() {
    local name
    local -a edits=(-e "s|@DIR@|$(dirname "$2")|g" -e "s|@ROOT@|$PWD|g")
    for name in "${!port[@]}"; do
        edits+=(-e "s|@$name@|${port[$name]}|g")
    done
    sed "${edits[@]}" "$engines_source/$1" >"$2"
}

# Starts a command in a session of its own, so that it outlives this shell and its terminal.
spawn() {
    local name=$1 dir=$engines_data/$1
    shift
    [ ! -e "$dir/log" ] || mv "$dir/log" "$dir/log.before"
    (cd "$dir" && exec setsid "$@" >log 2>&1 </dev/null 9>&-) &
    echo $! >"$dir/pid"
}

# Sets `pid` if the engine runs. The working folder tells it from a stranger who got its number.
runs() {
    pid=$(cat "$engines_data/$1/pid" 2>/dev/null) || return 1
    [ "$(readlink "/proc/$pid/cwd" 2>/dev/null)" = "$engines_data/$1" ]
}

start_kafka() {
    local dir=$engines_data/kafka cluster
    local classes="$kafka_home/*"
    fill kafka/server.properties "$dir/server.properties"
    fill kafka/log4j2.properties "$dir/log4j2.properties"
    if [ ! -e "$dir/formatted" ]; then
        rm -rf "$dir/data"
        cluster=$(head -c 16 /dev/urandom | base64 | tr '+/' 'Aa' | cut -c1-22)
        "$java" -Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 "-Dlog4j2.configurationFile=$dir/log4j2.properties" \
            -cp "$classes" kafka.tools.StorageTool format -t "$cluster" -c "$dir/server.properties" >"$dir/log" 2>&1 ||
            stop "cannot format Kafka's data folder" "read $dir/log"
        touch "$dir/formatted"
    fi
    spawn kafka "$java" -Xmx256m -Xms64m -XX:+UseSerialGC "-Dlog4j2.configurationFile=$dir/log4j2.properties" \
        -cp "$classes" kafka.Kafka "$dir/server.properties"
}

start_cassandra() {
    local dir=$engines_data/cassandra
    local url=file://${dir// /%20}
    local -a launch=("$java" "@$dir/jvm17.args")
    fill cassandra/cassandra.yaml "$dir/cassandra.yaml"
    fill cassandra/logback.xml "$dir/logback.xml"
    fill cassandra/jvm17.args "$dir/jvm17.args"
    # Root may lock memory, and then Cassandra keeps its whole heap there.
    if [ "$(id -u)" -eq 0 ] && setpriv --bounding-set -ipc_lock --inh-caps -ipc_lock true 2>/dev/null; then
        launch=(setpriv --bounding-set -ipc_lock --inh-caps -ipc_lock "${launch[@]}")
    fi
    spawn cassandra "${launch[@]}" \
        -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:+ExitOnOutOfMemoryError -Xms64m -Xmx256m -Xss512k \
        -javaagent:"$cassandra_home/jamm-0.4.0.jar" -Dio.netty.tryReflectionSetAccessible=true \
        "-Dcassandra.config=$url/cassandra.yaml" "-Dlogback.configurationFile=$url/logback.xml" \
        "-Dcassandra.storagedir=$dir/data" -Dcassandra-foreground=yes \
        -Dcassandra.skip_wait_for_gossip_to_settle=0 -Dcassandra.ring_delay_ms=100 \
        -Dcassandra.superuser_setup_delay_ms=0 -Dcassandra.shutdown_announce_in_ms=0 \
        -cp "$cassandra_home/*" org.apache.cassandra.service.CassandraDaemon
}

start_seaweedfs() {
    local dir=$engines_data/seaweedfs
    fill seaweedfs/s3.json "$dir/s3.json"
    mkdir -p "$dir/data"
    spawn seaweedfs "$seaweedfs_home/weed" server -ip=127.0.0.1 -ip.bind=127.0.0.1 "-dir=$dir/data" \
        -s3 "-s3.port=${port[S3]}" "-s3.port.grpc=${port[S3_GRPC]}" -s3.port.iceberg=0 -s3.port.lance=0 \
        "-s3.config=$dir/s3.json" -master.telemetry=false "-master.port=${port[MASTER]}" \
        "-master.port.grpc=${port[MASTER_GRPC]}" "-volume.port=${port[VOLUME]}" "-volume.port.grpc=${port[VOLUME_GRPC]}" \
        "-filer.port=${port[FILER]}" "-filer.port.grpc=${port[FILER_GRPC]}" -volume.max=100 -master.volumeSizeLimitMB=64 \
        -volume.preStopSeconds=0 \
        -metricsIp=127.0.0.1 "-metricsPort=${port[WEED_METRICS]}"
}

start_prometheus() {
    local dir=$engines_data/prometheus
    fill prometheus/prometheus.yml "$dir/prometheus.yml"
    spawn prometheus "$prometheus" "--config.file=$dir/prometheus.yml" "--storage.tsdb.path=$dir/data" \
        "--web.listen-address=127.0.0.1:${port[PROMETHEUS]}" --storage.tsdb.retention.time=7d
}

start_registry() {
    spawn registry "$java" -Xmx384m -Xms64m -XX:+UseSerialGC -Dquarkus.http.host=127.0.0.1 \
        "-Dquarkus.http.port=${port[REGISTRY]}" -Dapicurio.storage.kind=kafkasql \
        "-Dapicurio.kafkasql.bootstrap.servers=127.0.0.1:${port[KAFKA]}" -jar "$registry_home/$registry_jar"
}

# ---------------------------------------------------------------------------------------------------------------------
# Health: each engine is asked in its own protocol, because a port that accepts says nothing about who is behind it.

# Sends a request and prints the first bytes of the answer: port, request as for printf, number of bytes. The answer comes
# as hex.
ask() {
    # shellcheck disable=SC2059 # the format is the request
    { exec 3<>"/dev/tcp/127.0.0.1/$1" && printf "$2" >&3 && timeout 3 head -c "$3" <&3 | od -An -v -tx1 | tr -d ' \n'; } 2>/dev/null
}

# ApiVersions, version 0. Behind the length of the answer stand the correlation id and error 0.
healthy_kafka() {
    local answer
    answer=$(ask "${port[KAFKA]}" '\x00\x00\x00\x0a\x00\x12\x00\x00\x5f\x5f\x5f\x5f\xff\xff' 10) || return 1
    [ "${answer:8}" = 5f5f5f5f0000 ]
}

# OPTIONS of protocol 4 is answered by SUPPORTED.
healthy_cassandra() { [ "$(ask "${port[CQL]}" '\x04\x00\x00\x00\x05\x00\x00\x00\x00' 5)" = 8400000006 ]; }

healthy_seaweedfs() {
    # Without credentials a store that is ready refuses; one that is not ready yet says 503 or nothing.
    [ "$(curl -s -o /dev/null -m 3 -w '%{http_code}' "http://127.0.0.1:${port[S3]}/")" = 403 ]
}

healthy_prometheus() { curl -s -f -o /dev/null -m 3 "http://127.0.0.1:${port[PROMETHEUS]}/-/ready"; }

healthy_registry() { curl -s -f -o /dev/null -m 3 "$(address_of registry)/subjects"; }

await_health() {
    local name=$1 pid until=$((SECONDS + 120))
    until "healthy_$name"; do
        if ! runs "$name" || [ "$SECONDS" -ge "$until" ]; then
            tail -n 15 "$engines_data/$name/log" >&2
            stop "$name does not answer" "read $engines_data/$name/log"
        fi
        sleep 0.2
    done
}

make_bucket() {
    local code
    code=$(curl -s -o /dev/null -m 20 -w '%{http_code}' --aws-sigv4 aws:amz:us-east-1:s3 --user "$s3_key:$s3_secret" \
        -X PUT "http://127.0.0.1:${port[S3]}/$s3_bucket")
    case $code in
    200 | 409) ;;
    *) stop "cannot create the bucket $s3_bucket: SeaweedFS answers $code" "read $engines_data/seaweedfs/log" ;;
    esac
}

# ---------------------------------------------------------------------------------------------------------------------
# Commands

address_of() {
    case $1 in
    kafka) echo "127.0.0.1:${port[KAFKA]-}" ;;
    cassandra) echo "127.0.0.1:${port[CQL]-}" ;;
    seaweedfs) echo "http://127.0.0.1:${port[S3]-}" ;;
    prometheus) echo "http://127.0.0.1:${port[PROMETHEUS]-}" ;;
    registry) echo "http://127.0.0.1:${port[REGISTRY]-}/apis/ccompat/v7" ;;
    esac
}

engines_up() {
    local name pid
    local -a started=()
    need "$(engine_needs)"
    find_java || stop "there is no Java 17" "install openjdk-17-jre-headless, or set JAVA_HOME"
    mkdir -p "$engines_data" "$engines_cache"
    # One at a time, so that two sets of engines do not choose the same ports or fetch the same files.
    exec 9>"$engines_cache/lock"
    flock 9
    load_ports
    for name in "$@"; do
        ! runs "$name" || continue
        "fetch_$name" || { [ "$name" = prometheus ] && say "not started: there is no prometheus here" && continue; }
        mkdir -p "$engines_data/$name"
        choose_ports "$name"
        save_ports
        # What keeps everything in Kafka does not start without it.
        [ "$name" != registry ] || await_health kafka
        "start_$name"
        started+=("$name")
    done
    for name in "${started[@]}"; do
        await_health "$name"
    done
    [[ " ${started[*]} " != *' seaweedfs '* ]] || make_bucket
    exec 9>&-
    for name in "$@"; do
        ! runs "$name" || say "$name answers on $(address_of "$name")"
    done
}

engines_fetch() {
    local name
    mkdir -p "$engines_cache"
    exec 9>"$engines_cache/lock"
    flock 9
    for name in "$@"; do
        [ "$name" = clients ] || need "$(engine_needs)"
        "fetch_$name" || stop "cannot fetch $name" "look at the network, then run it again"
    done
    exec 9>&-
}

# Sends a signal to engines and waits until they are gone: signal, seconds, engines.
engines_end() {
    local signal=$1 patience=$2 name pid until
    local -a running=()
    shift 2
    for name in "$@"; do
        runs "$name" || continue
        kill "-$signal" "$pid" 2>/dev/null || true
        running+=("$name")
    done
    until=$((SECONDS + patience))
    for name in "${running[@]}"; do
        while runs "$name"; do
            if [ "$SECONDS" -ge "$until" ]; then
                say "$name does not stop within $patience s, killing it"
                kill -KILL "$pid" 2>/dev/null || true
                until=$((SECONDS + 5))
            fi
            sleep 0.05
        done
        rm -f "$engines_data/$name/pid"
        say "$name stopped"
    done
}

engines_status() {
    local name pid rss health ok=0
    load_ports
    printf '%-11s %-24s %8s %8s  %s\n' engine address pid memory health
    for name in "${all_engines[@]}" "${more_engines[@]}"; do
        # What nobody has started is not missed.
        [[ " ${more_engines[*]} " != *" $name "* ]] || runs "$name" || continue
        if runs "$name"; then
            rss=$(awk '/^VmRSS:/ { printf "%d MB", $2 / 1024 }' "/proc/$pid/status")
            health=well
            "healthy_$name" || { health="does not answer" && ok=1; }
            printf '%-11s %-24s %8s %8s  %s\n' "$name" "$(address_of "$name")" "$pid" "$rss" "$health"
        else
            ok=1
            printf '%-11s %-24s %8s %8s  %s\n' "$name" - - - stopped
        fi
    done
    return $ok
}

# What tests look for: one variable per engine that runs, and where the programs are for tests that start their own.
engines_test_env() {
    local pid
    load_ports
    if runs kafka; then
        echo "export STREAMFORGE_TEST_KAFKA=127.0.0.1:${port[KAFKA]}"
        echo "export STREAMFORGE_TEST_KAFKA_PROXIED=127.0.0.1:${port[PROXIED]}"
        echo "export STREAMFORGE_TEST_KAFKA_PROXY=127.0.0.1:${port[PROXY]}"
    fi
    ! runs cassandra || echo "export STREAMFORGE_TEST_CQL=127.0.0.1:${port[CQL]}"
    if runs seaweedfs; then
        echo "export STREAMFORGE_TEST_S3=http://127.0.0.1:${port[S3]}"
        echo "export STREAMFORGE_TEST_S3_KEY=$s3_key"
        echo "export STREAMFORGE_TEST_S3_SECRET=$s3_secret"
    fi
    ! find_java || echo "export STREAMFORGE_TEST_JAVA=$java"
    [ ! -d "$registry_home" ] || echo "export STREAMFORGE_TEST_REGISTRY_HOME='$registry_home'"
    [ ! -d "$kafka_home" ] || echo "export STREAMFORGE_TEST_KAFKA_HOME='$kafka_home'"
    [ ! -d "$cassandra_home" ] || echo "export STREAMFORGE_TEST_CASSANDRA_HOME='$cassandra_home'"
    [ ! -x "$seaweedfs_home/weed" ] || echo "export STREAMFORGE_TEST_WEED='$seaweedfs_home/weed'"
    ! find_clients || echo "export STREAMFORGE_TEST_PYTHON='$clients_python'"
    if find_prometheus; then
        echo "export STREAMFORGE_TEST_PROMETHEUS='$(command -v "$prometheus")'"
        echo "export STREAMFORGE_TEST_PROMTOOL='$(command -v "$promtool")'"
    fi
}

# What the pipeline needs to run on the engines.
engines_run_env() {
    local name pid
    load_ports
    for name in kafka cassandra seaweedfs; do
        runs "$name" || stop "$name does not run" "./dev engines up"
    done
    cat <<ENV
export STREAMFORGE_LOG=kafka://127.0.0.1:${port[KAFKA]}
export STREAMFORGE_CATALOG=scylla://127.0.0.1:${port[CQL]}/streamforge
export STREAMFORGE_BLOBS=s3://$s3_bucket
export AWS_ENDPOINT_URL=http://127.0.0.1:${port[S3]}
export AWS_ALLOW_HTTP=true
export AWS_REGION=us-east-1
export AWS_ACCESS_KEY_ID=$s3_key
export AWS_SECRET_ACCESS_KEY=$s3_secret
ENV
    ! runs registry || echo "export STREAMFORGE_REGISTRY=$(address_of registry)"
}

engines() {
    local action=${1-help} name
    local -a names=()
    free_ports=false
    engines_data=${STREAMFORGE_ENGINES_DATA:-.dev/engines}
    [ $# -eq 0 ] || shift
    while [ $# -gt 0 ]; do
        case $1 in
        --data)
            [ $# -ge 2 ] || wrong_usage "--data wants a folder"
            engines_data=$2
            shift
            ;;
        --data=*) engines_data=${1#--data=} ;;
        --free-ports) free_ports=true ;;
        kafka | cassandra | seaweedfs | prometheus | registry) names+=("$1") ;;
        clients)
            [ "$action" = fetch ] || wrong_usage "\`$1\` belongs to ./dev engines fetch"
            names+=("$1")
            ;;
        tests | pipeline)
            [ "$action" = env ] || wrong_usage "\`$1\` belongs to ./dev engines env"
            names+=("$1")
            ;;
        *) wrong_usage "./dev engines $action does not know \`$1\`" ;;
        esac
        shift
    done
    case $engines_data in
    /*) ;;
    *) engines_data=$PWD/$engines_data ;;
    esac
    case $action in
    up)
        [ "${#names[@]}" -gt 0 ] || names=("${all_engines[@]}")
        [[ " ${names[*]} " != *' registry '* ]] || names=(kafka "${names[@]}")
        engines_up "${names[@]}"
        ;;
    down)
        [ "${#names[@]}" -gt 0 ] || names=(registry prometheus kafka cassandra seaweedfs)
        engines_end TERM 30 "${names[@]}"
        ;;
    kill)
        [ "${#names[@]}" -gt 0 ] || wrong_usage "./dev engines kill wants the names of engines"
        engines_end KILL 10 "${names[@]}"
        ;;
    fetch)
        [ "${#names[@]}" -gt 0 ] || names=("${all_engines[@]}")
        engines_fetch "${names[@]}"
        ;;
    status) engines_status ;;
    env)
        [ "${names[*]}" = pipeline ] || engines_test_env
        [ "${names[*]}" = tests ] || engines_run_env
        ;;
    help | --help | -h) engines_help ;;
    *) wrong_usage "there is no command \`engines $action\`" ;;
    esac
}
