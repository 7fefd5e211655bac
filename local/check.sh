#!/usr/bin/env bash
# One look at everything that `make up` and `make test` need, before anything is built. Missing Debian packages are
# installed where that is allowed; everything else that is missing is one sentence.
set -uo pipefail
cd "$(dirname "$0")/.."
goal=${1:?up or test}

faults=()
fault() { faults+=("$1"); }
# version_at_least WANTED FOUND
version_at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

# What is needed, by the package that brings it. A package counts as there when what we use of it is there.
packages=()
need() { eval "$2" >/dev/null 2>&1 || packages+=("$1"); }
need gcc 'command -v cc'
need g++ 'command -v c++'
need make 'command -v make'
need cmake 'command -v cmake'
need pkg-config 'command -v pkg-config'
need libssl-dev 'pkg-config --exists openssl || [ -f /usr/include/openssl/ssl.h ]'
need zlib1g-dev '[ -f /usr/include/zlib.h ]'
need util-linux 'setpriv --help | grep -q pdeathsig'
need curl 'command -v curl'
need maven 'command -v mvn'
need default-jre-headless 'command -v java'
if [ "$goal" = test ]; then
    need chromium 'command -v chromium'
    need chromium-driver 'command -v chromedriver'
    need faketime '[ -f /usr/lib/*/faketime/libfaketimeMT.so.1 ]'
    # Where the distribution has one that is new enough; without it its test says that it is skipped.
    if version_at_least 1.21 "$(apt-cache policy pgbouncer 2>/dev/null | sed -n 's/^  Candidate: //p' | grep '^[0-9]')"; then
        need pgbouncer '[ -x /usr/sbin/pgbouncer ]'
    fi
fi
has_postgres() { ls -d /usr/lib/postgresql/{1[5-9],[2-9][0-9]}/bin/initdb 2>/dev/null | grep -q . || [ -x "$(pg_config --bindir)/initdb" ]; }
[ "$(id -u)" = 0 ] && need postgresql 'has_postgres'

if [ ${#packages[@]} -gt 0 ]; then
    if [ "$(id -u)" = 0 ]; then as_root=(); elif sudo -n true 2>/dev/null; then as_root=(sudo -n); else as_root=(none); fi
    if [ "${as_root[0]:-}" = none ] || ! command -v apt-get >/dev/null; then
        echo "missing packages; install them with:" >&2
        echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${packages[*]}" >&2
        exit 1
    fi
    echo "== installing ${packages[*]}"
    # No cluster of Debian's own: ours is made by us, and none is left running.
    if [[ " ${packages[*]} " == *" postgresql "* ]]; then
        "${as_root[@]}" mkdir -p /etc/postgresql-common
        [ -f /etc/postgresql-common/createcluster.conf ] ||
            echo "create_main_cluster = false" | "${as_root[@]}" tee /etc/postgresql-common/createcluster.conf >/dev/null
    fi
    log=$(mktemp)
    if ! { "${as_root[@]}" apt-get update -q &&
           "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${packages[@]}"
         } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        echo "error: apt-get could not install ${packages[*]}" >&2
        exit 1
    fi
    rm -f "$log"
fi

if ! command -v cargo >/dev/null; then
    fault "Rust is missing: install the toolchain 1.94 or newer with rustup"
else
    rust=$(rustc --version | cut -d' ' -f2)
    version_at_least 1.94.0 "$rust" || fault "Rust $rust is too old: 1.94 or newer is needed (rustup update stable)"
fi
if command -v java >/dev/null; then
    java=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
    version_at_least 17 "${java:-0}" || fault "Java ${java:-?} is too old: Kafka needs 17 or newer (default-jre-headless)"
fi

python=
for candidate in python3.13 python3 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.13.*/bin/python3; do
    if "$candidate" -c 'import ensurepip, ssl, sys, venv; sys.exit(sys.version_info[:2] != (3, 13))' >/dev/null 2>&1; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || fault "no Python 3.13 that works: the BigQuery emulator needs it (Debian 13: apt-get install python3-venv; elsewhere: pyenv install 3.13)"

free_gb=$(($(df --output=avail -k . | tail -n 1) / 1024 / 1024))
[ -d target ] || [ "$free_gb" -ge 10 ] || fault "only $free_gb GB of disk are free here: 10 are needed"
memory_gb=$(($(sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo) / 1000 / 1000))
[ "$memory_gb" -ge 4 ] || fault "this machine has $memory_gb GB of memory: 4 are needed"

# Before the build, so that nobody waits ten minutes to hear it. `make test` takes ports that are free.
if [ "$goal" = up ]; then
    for port in WEB:8080 POSTGRES:15432 KAFKA:18092 KAFKA_CONTROLLER:18093 GCS:14443 BIGQUERY:19050 BIGQUERY_GRPC:19060 STREAMING:9464; do
        setting=STREAMCOMMERCE_${port%%:*}_PORT
        number=${!setting:-${port##*:}}
        if (exec 3<>"/dev/tcp/127.0.0.1/$number") 2>/dev/null; then
            fault "port $number is taken: stop what listens there, or set $setting to another one"
        fi
    done
fi

if [ ${#faults[@]} -gt 0 ]; then
    printf 'error: %s\n' "${faults[@]}" >&2
    exit 1
fi
