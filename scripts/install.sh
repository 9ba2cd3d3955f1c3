#!/usr/bin/env bash
# Installs what Tillstream's embedded parts and tests need, and does nothing when it is there:
#   scripts/install.sh chdb    the embedded ClickHouse (libchdb, from its npm package) into .cache/chdb
#   scripts/install.sh kafka   a real Apache Kafka for tests (jars, by Maven) into .cache/kafka
#   scripts/install.sh redis   a real Redis for tests (Debian package redis-server)
#   scripts/install.sh chromium  a real browser for the tests of the page (Debian package chromium)
# Packages of the system are installed by apt-get, as root or by sudo; each is said before.
set -euo pipefail

cd "$(dirname "$0")/.."
readonly cache="$PWD/.cache"
readonly chdb_version=26.7.3-stable.1
readonly kafka_version=4.1.1
readonly redis_package=redis-server

say() { printf '==> %s\n' "$*"; }
die() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# once_more runs a download and, when it fails, runs it a second time.
once_more() {
	if "$@"; then return 0; fi
	say "that failed; trying once more in 5 seconds"
	sleep 5
	"$@"
}

# apt_install PACKAGE WHY: by apt-get, the package lists fetched only when the package is not in them.
apt_install() {
	local package=$1 why=$2 as=()
	have apt-get || die "$package is needed ($why), and this system has no apt-get: install it by hand and run this again"
	if [ "$(id -u)" -ne 0 ]; then
		have sudo || die "$package is needed ($why): run 'apt-get install $package' as root (there is no sudo here) and run this again"
		as=(sudo)
		say "installing $package ($why): this asks for your password, because it runs 'sudo apt-get install $package'"
	else
		say "installing $package ($why) by apt-get"
	fi
	# sudo drops the environment, so the variable goes through env.
	as+=(env DEBIAN_FRONTEND=noninteractive)
	# Installing may also fail because the lists are old: then they are fetched and it is tried again.
	if apt-cache show "$package" >/dev/null 2>&1 && "${as[@]}" apt-get install -y -q --no-install-recommends "$package"; then
		return 0
	fi
	say "fetching the package lists"
	once_more "${as[@]}" apt-get update -q || die "apt-get update failed: check the network and the sources of apt"
	once_more "${as[@]}" apt-get install -y -q --no-install-recommends "$package" ||
		die "apt-get could not install $package ($why): its message is above"
}

# room MEGABYTES WHAT: refuses early when the disk is too full.
room() {
	local free
	mkdir -p "$cache"
	free=$(df -Pm "$cache" | awk 'NR == 2 { print $4 }')
	[ "$free" -ge "$1" ] || die "$2 needs $1 MB in $cache, there are $free MB: free some space"
}

# Work is done in a folder beside the goal and moved there when it is whole, so an interrupted run leaves nothing half.
work=
cleanup() { [ -z "$work" ] || rm -rf "$work"; }
trap cleanup EXIT
trap 'exit 130' INT TERM
work_folder() {
	mkdir -p "$cache"
	work=$(mktemp -d "$cache/.work-XXXXXX")
}

# chdb_integrity is the npm package's sha512, as npm's own lock files write it.
chdb_integrity() {
	case $1 in
	x64) echo 'sha512-XP97mMqnc5tZpKQywR8N7cLTsHNiTmHr30pC5mzo3jWmukjKn2IBa60c2B/gWUNcuFjOMjWoorQICCqBVj5wpw==' ;;
	esac
}

npm_pack() { # FOLDER PACKAGE: npm's own progress is hidden, so the growing file is shown.
	local folder=$1 package=$2 pid
	(cd "$folder" && npm pack --silent --no-update-notifier "$package" >packed 2>npm.log) &
	pid=$!
	while kill -0 "$pid" 2>/dev/null; do
		if [ -t 1 ]; then printf '\r    %s so far' "$(du -sh "$folder" 2>/dev/null | cut -f1)"; fi
		sleep 1
	done
	if [ -t 1 ]; then printf '\r\033[K'; fi
	if ! wait "$pid"; then
		cat "$folder/npm.log" >&2
		return 1
	fi
}

install_chdb() {
	local folder="$cache/chdb/$chdb_version" machine package tarball want got version
	if [ -n "${TILLSTREAM_CHDB:-}" ]; then
		[ -f "$TILLSTREAM_CHDB" ] || die "TILLSTREAM_CHDB names $TILLSTREAM_CHDB, which is no file"
		return 0
	fi
	# "complete" is written last, with the size: a file cut later (a full disk, a copy) is fetched anew.
	if [ -f "$folder/libchdb.so" ] && [ -f "$folder/complete" ] && [ "$(stat -c %s "$folder/libchdb.so")" = "$(cat "$folder/complete")" ]; then
		return 0
	fi
	[ "$(uname -s)" = Linux ] || die "the embedded ClickHouse needs Linux; elsewhere use a ClickHouse server (docker-compose.yml has one)"
	case $(uname -m) in
	x86_64) machine=x64 ;;
	*) die "there is no libchdb $chdb_version package for $(uname -m): set TILLSTREAM_CHDB to a libchdb.so of your own, or use a ClickHouse server" ;;
	esac
	package="@chdb/lib-linux-$machine-gnu@$chdb_version"
	room 1200 "the embedded ClickHouse"
	have npm || apt_install npm "npm fetches the embedded ClickHouse"
	say "fetching the embedded ClickHouse (npm $package): 170 MB to download, 570 MB on disk"
	work_folder
	once_more npm_pack "$work" "$package" ||
		die "npm could not fetch $package: check the network and npm's configuration, or set TILLSTREAM_CHDB to a libchdb.so"
	tarball=$(tail -n 1 "$work/packed")
	[ -f "$work/$tarball" ] || die "npm said it packed '$tarball', which is not there"
	want=$(chdb_integrity "$machine")
	got="sha512-$(sha512sum "$work/$tarball" | cut -d' ' -f1 | hex_to_base64)"
	[ "$got" = "$want" ] || die "the package's checksum is $got, expected $want: it is damaged or not the real one; run this again"
	say "unpacking"
	tar -xzf "$work/$tarball" -C "$work" package/libchdb.so package/package.json
	version=$(sed -n 's/.*"version": *"\([^"]*\)".*/\1/p' "$work/package/package.json")
	[ "$version" = "$chdb_version" ] || die "the package is version '$version', expected $chdb_version"
	mkdir "$work/done"
	mv "$work/package/libchdb.so" "$work/done/"
	chmod 644 "$work/done/libchdb.so"
	stat -c %s "$work/done/libchdb.so" >"$work/done/complete"
	mkdir -p "$cache/chdb"
	rm -rf "$folder"
	mv "$work/done" "$folder"
	say "the embedded ClickHouse is in .cache/chdb/$chdb_version"
}

# hex_to_base64 turns hexadecimal into base64, with the shell and coreutils alone.
hex_to_base64() {
	local hex i
	read -r hex
	for ((i = 0; i < ${#hex}; i += 2)); do printf '%b' "\\x${hex:i:2}"; done | base64 -w0
}

copy_kafka() { mvn -q -B -Dstyle.color=never -f scripts/kafka/pom.xml dependency:copy-dependencies -Dkafka.version="$kafka_version" -DoutputDirectory="$1"; }

install_kafka() {
	local folder="$cache/kafka/$kafka_version"
	# Java is what runs it: asked for also where the jars are.
	have java || apt_install default-jre-headless "Java runs the real Kafka of the tests"
	[ ! -f "$folder/complete" ] || return 0
	have mvn || apt_install maven "Maven fetches the real Kafka of the tests"
	room 300 "the real Kafka of the tests"
	say "fetching Apache Kafka $kafka_version for the tests by Maven: about 45 MB"
	work_folder
	once_more copy_kafka "$work/done" || die "Maven could not fetch Kafka: check the network and Maven's settings; its message is above"
	[ -f "$work/done/kafka_2.13-$kafka_version.jar" ] || die "Maven ended well, but kafka_2.13-$kafka_version.jar is not among what it copied"
	touch "$work/done/complete"
	mkdir -p "$cache/kafka"
	rm -rf "$folder"
	mv "$work/done" "$folder"
	say "Kafka is in .cache/kafka/$kafka_version"
}

install_redis() {
	have redis-server || apt_install "$redis_package" "a real Redis for the tests"
}

install_chromium() {
	have chromium || have chromium-browser || have google-chrome || apt_install chromium "a real browser for the tests of the page"
}

usage() { die "say what to install: chdb, kafka, redis, chromium (one or more)"; }

[ $# -gt 0 ] || usage
for part in "$@"; do
	case $part in
	chdb) install_chdb ;;
	kafka) install_kafka ;;
	redis) install_redis ;;
	chromium) install_chromium ;;
	*) usage ;;
	esac
	cleanup
	work=
done
