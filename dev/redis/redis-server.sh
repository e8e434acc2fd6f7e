#!/bin/sh
# The official image is built with protected mode off, since a Service's clients are never on the loopback interface.
case "${1:-}" in
-v | --version | -h | --help) exec /usr/bin/redis-server "$@" ;;
'' | -*) exec /usr/bin/redis-server --protected-mode no "$@" ;;
*)
    file=$1
    shift
    exec /usr/bin/redis-server "$file" --protected-mode no "$@"
    ;;
esac
