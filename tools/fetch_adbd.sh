#!/bin/sh
# Google's adbd and adb, as Debian packages them, for the tests: unpacked into FOLDER, not installed.
#
#   sh tools/fetch_adbd.sh FOLDER
#
# They are in Debian 13; a host with an older Debian asks its own package source for that suite,
# with an apt configuration of its own, so that nothing changes for the system. Fails, and says
# why, where there is no such source.
set -eu
suite=trixie
folder=$(realpath -m "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "adbd cannot be fetched: $1; tests that need it are skipped" >&2
    exit 1
}

# What is there is replaced, so it must be what this has put there.
if [ -e "$folder" ] && [ ! -e "$folder/usr/lib/android-sdk/platform-tools/adbd" ]; then
    [ -d "$folder" ] && [ -z "$(ls -A "$folder")" ] || fail "$folder is something else"
fi
[ "$folder" != / ] || fail "$folder is the system"
command -v apt-get > /dev/null || fail "this system has no apt"
source=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 2> /dev/null |
    awk '$2 !~ /-/ { print $1; exit }')
[ -n "$source" ] || fail "apt has no package source; run apt-get update"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -e "$keyring" ] || fail "the keyring of Debian is missing"

mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
echo "deb [signed-by=$keyring] $source $suite main" > "$work/sources.list"
cat > "$work/apt.conf" << EOF
Dir::Etc::SourceList "$work/sources.list";
Dir::Etc::SourceParts "-";
Dir::State::Lists "$work/lists";
Dir::State::status "/dev/null";
Dir::Cache "$work/cache";
Acquire::Languages "none";
Acquire::Retries "3";
APT::Sandbox::User "$(id -un)";
EOF
export APT_CONFIG="$work/apt.conf"
apt-get update -qq > "$work/log" 2>&1 || fail "$(tail -n 1 "$work/log")"
apt-get install -qq --yes --download-only --no-install-recommends adbd adb > "$work/log" 2>&1 ||
    fail "$(tail -n 1 "$work/log")"
rm -rf "$folder"
mkdir -p "$folder"
for package in "$work"/cache/archives/*.deb; do
    dpkg-deb --extract "$package" "$folder"
done
