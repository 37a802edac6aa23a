# sources_of SUITE DIR: apt's sources for a suite, written into DIR; $sources is the file. They and their keys are this machine's own, with the
# suite's name in the place of its own, so no mirror is named here.
sources_of() {
    local own from=/etc/apt/sources.list.d/debian.sources
    own=$(. /etc/os-release && echo "$VERSION_CODENAME")
    [ -e "$from" ] || from=/etc/apt/sources.list
    sources=$2/${from##*/}
    sed "s/\b$own\b/$1/g" "$from" >"$sources"
}
