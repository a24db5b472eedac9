#!/usr/bin/env bash
# What the Makefile needs of a machine: a virtual environment, system packages, .env. Safe to call again.
#
#   tools/setup.sh engine                   print "docker" where an engine with Compose answers, else "local"
#   tools/setup.sh env                      write .env with passwords, a cookie and an API key, unless they are there
#   tools/setup.sh venv [run|dev|bench]     .venv from requirements.lock, -dev.lock or -bench.lock
#   tools/setup.sh packages run|test|bench  the system packages for a local run, for all tests, or for the benchmark
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

can_install() { has apt-get && { [ "$(id -u)" = 0 ] || has sudo; }; }

policy=/usr/sbin/policy-rc.d
# Packages start their services when they are installed, unless this file says no; one that is there is left alone.
forbid_starting_services() {
  [ ! -e "$policy" ] || return 0
  trap 'as_root rm -f "$policy"' EXIT
  trap 'exit 130' INT TERM
  printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
  as_root chmod 755 "$policy"
}

allow_starting_services() {
  if [ -n "$(trap -p EXIT)" ]; then as_root rm -f "$policy"; trap - EXIT INT TERM; fi
}

# install REASON PACKAGE...
install() {
  local reason=$1; shift
  can_install || die "$* missing ($reason). Install them with your system's package manager, then run make again."
  say "Installing with apt-get, which may take some minutes ($reason): $*"
  forbid_starting_services
  as_root apt-get update -qq || say "apt-get update failed; trying with the package lists at hand"
  local said
  said=$(as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install -y -qq --no-install-recommends "$@" 2>&1) || die "apt-get failed: $said"
  allow_starting_services
}

# The system's own brokers and databases are not ours to run: neither now nor at the next boot.
leave_disabled() {
  if [ -d /run/systemd/system ]; then as_root systemctl disable --quiet "$@" || true; fi
}

python_that_will_do() {
  local candidate
  for candidate in "${PYTHON:-python3}" python3 python3.14 python3.13 python3.12 python3.11; do
    if has "$candidate" && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  return 1
}

python_with_venv() {
  local python
  if ! has python3; then install "the services are written in Python" python3 python3-venv; fi
  python=$(python_that_will_do) || die "Python 3.11 or newer is needed; python3 is $(python3 --version). Name another with PYTHON=..."
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    install "Python's venv module" "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
  fi
  printf '%s\n' "$python"
}

digest() { cksum <"$1"; }

venv() {
  local lock=requirements.lock enough installed python
  case "${1:-run}" in run) ;; *) lock=requirements-$1.lock ;; esac
  # What the benchmark needs includes what the tests need, and that what the services need.
  case $lock in
    requirements.lock) enough="$lock requirements-dev.lock requirements-bench.lock" ;;
    requirements-dev.lock) enough="$lock requirements-bench.lock" ;;
    *) enough=$lock ;;
  esac
  for installed in $enough; do
    if grep -qsF -e "$(digest "$installed")" .venv/installed; then return; fi
  done
  python=$(python_with_venv)
  [ -x .venv/bin/python ] || "$python" -m venv .venv
  say "Installing $lock into .venv"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement "$lock"
  digest "$lock" >.venv/installed
}

random_hex() {
  if has openssl; then openssl rand -hex 24; else od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; fi
}

volumes() {
  [ "$(engine)" = local ] || docker volume ls --quiet --filter "label=com.docker.compose.project=${COMPOSE_PROJECT_NAME:-sms-batch}"
}

# These came later than the rest of .env. A cluster that was never formed has no old cookie, and Redis keeps nothing.
complete() {
  local name
  for name in SMS_RABBITMQ_COOKIE SMS_REDIS_PASSWORD; do
    if grep -qs "^$name=" .env; then continue; fi
    printf '\n%s=%s\n' "$name" "$(random_hex)" >>.env
    say "Wrote $name to .env"
  done
}

# Passwords and keys that Compose does not take as they stand there. It is only said: a system that runs has them so.
doubtful() {
  local line name why
  while IFS= read -r line; do
    name=${line%%=*}
    case ${line#*=} in
      "'"*) continue ;;
      *'$'*) why='what follows a $ is the name of a variable for docker compose' ;;
      *[[:blank:]]#*) why='docker compose ends the value before the #' ;;
      *) continue ;;
    esac
    say "warning: $name in .env: $why. In single quotes it is taken as it is: $name='...'"
  done < <(grep -E '^SMS_(RABBITMQ_PASSWORD|RABBITMQ_COOKIE|POSTGRES_PASSWORD|REDIS_PASSWORD|API_KEYS?)=' .env)
}

env_file() {
  if [ -e .env ]; then complete; doubtful; return; fi
  if [ -n "$(volumes)" ]; then
    die "docker has data of an earlier run, whose passwords were in a .env that is gone. Bring it back, or delete the data: make clean"
  fi
  (
    umask 077
    cat >.env.new <<VALUES
# Made by "make env" for docker compose; .env.example says what else may stand here. Never commit it.
SMS_RABBITMQ_PASSWORD=$(random_hex)
SMS_POSTGRES_PASSWORD=$(random_hex)
SMS_REDIS_PASSWORD=$(random_hex)
SMS_API_KEYS=$(random_hex)
SMS_RABBITMQ_COOKIE=$(random_hex)
VALUES
    mv .env.new .env
  )
  say "Wrote .env with new passwords, a cookie and an API key"
}

engine() {
  if has docker && docker compose version >/dev/null 2>&1 && docker info >/dev/null 2>&1; then echo docker; else echo local; fi
}

has_rabbitmq() { [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || has rabbitmq-server; }
has_postgresql() { compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || has postgres; }
has_chromium() { has chromium || has chromium-browser || has google-chrome; }
has_compiler() { has cc || has gcc; }
has_librabbitmq() { [ -e /usr/include/amqp.h ] || [ -e /usr/include/rabbitmq-c/amqp.h ]; }
has_nginx() { has nginx || [ -x /usr/sbin/nginx ]; }
has_nginx_lua() { compgen -G '/usr/lib/nginx/modules/ngx_http_lua_module.so' >/dev/null; }
has_faketime() { compgen -G '/usr/lib*/*/faketime/libfaketimeMT.so.1' >/dev/null; }
has_pgbouncer() { has pgbouncer || [ -x /usr/sbin/pgbouncer ]; }
has_promtool() { has promtool || [ -x .run/bin/promtool ]; }

packages_to_run() {
  has_rabbitmq && return
  install "a private broker, on ports of its own, needs RabbitMQ's server" rabbitmq-server
  leave_disabled rabbitmq-server
}

packages_to_test() {
  local missing=()
  has_rabbitmq || missing+=(rabbitmq-server)
  has_postgresql || missing+=(postgresql)
  has redis-server || missing+=(redis-server)
  has_chromium || missing+=(chromium)
  has npm || missing+=(nodejs npm)
  has_faketime || missing+=(libfaketime)
  has_pgbouncer || missing+=(pgbouncer)
  if [ ${#missing[@]} -gt 0 ]; then
    if can_install; then
      install "tests run against the real ones" "${missing[@]}"
      for service in rabbitmq-server postgresql redis-server pgbouncer; do
        if [[ " ${missing[*]} " = *" $service "* ]]; then leave_disabled "$service"; fi
      done
    else
      say "Not installed, and there is no apt-get to install them: ${missing[*]}. The tests that need them are skipped."
    fi
  fi
  promtool_alone
  browser_packages
}

# nginx is the benchmark's stub of a provider, with Lua for the answers that name each message; the C client, compiled
# from benchmarks/, is the broker's limit.
packages_to_bench() {
  local missing=()
  if [ "$(engine)" = local ] && ! has_rabbitmq; then missing+=(rabbitmq-server); fi
  has_nginx || missing+=(nginx)
  has_nginx_lua || missing+=(libnginx-mod-http-lua lua-cjson)
  has_librabbitmq || missing+=(librabbitmq-dev)
  has_compiler || missing+=(gcc libc6-dev)
  [ ${#missing[@]} -gt 0 ] || return 0
  install "the stub provider and the C client of the benchmark" "${missing[@]}"
  for service in rabbitmq-server nginx; do
    if [[ " ${missing[*]} " = *" $service "* ]]; then leave_disabled "$service"; fi
  done
}

# Taken out of its package instead of installed with it: the package is a Prometheus server, which is not ours to run.
promtool_alone() {
  local folder said
  if has_promtool; then return; fi
  if ! has apt-get || ! has dpkg-deb; then
    say "Not installed, and there is no apt-get to get it: promtool. The tests that need it are skipped."
    return
  fi
  say "Downloading promtool, out of the package prometheus (19 MB)"
  folder=$(mktemp -d)
  if said=$(download_to "$folder" prometheus 2>&1); then
    mkdir -p .run/bin
    dpkg-deb --fsys-tarfile "$folder"/prometheus_*.deb | tar --extract --to-stdout ./usr/bin/promtool >.run/bin/promtool.new
    chmod 755 .run/bin/promtool.new
    mv .run/bin/promtool.new .run/bin/promtool
  else
    say "apt-get failed: $said"
  fi
  rm -rf "$folder"
}

# download_to FOLDER PACKAGE: needs no root, unless the package lists are missing
download_to() (
  cd "$1" || return
  apt-get download -qq "$2" || { can_install && as_root apt-get update -qq && apt-get download -qq "$2"; }
)

browser_packages() {
  local folder=tests/browser
  [ -e $folder/package-lock.json ] && has npm || return 0
  [ $folder/node_modules/.package-lock.json -nt $folder/package-lock.json ] && return
  say "Installing $folder/package-lock.json with npm (jQuery for the browser test)"
  npm ci --prefix $folder --silent --no-audit --no-fund
}

case "${1:-} ${2:-}" in
  "engine ") engine ;;
  "env ") env_file ;;
  "venv " | "venv run" | "venv dev" | "venv bench") venv "${2:-run}" ;;
  "packages run") packages_to_run ;;
  "packages test") packages_to_test ;;
  "packages bench") packages_to_bench ;;
  *) sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
