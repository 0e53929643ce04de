#!/bin/sh
# hublatch's management API with curl (7.76 or later) and nothing else. Copy what you need.
#
#   export HUBLATCH_API_URL=http://127.0.0.1:8010 HUBLATCH_API_KEY_FILE=/run/secrets/hublatch.key # or HUBLATCH_API_KEY
#   hublatch.sh link '{"username": "alice", "path": "lab", "launch": true}'   # the whole answer, as JSON
#   hublatch.sh url '{"username": "alice"}'                                   # the link alone
#   hublatch.sh progress /api/v1/links/ID/progress                            # the progress_url of an answer
#   hublatch.sh status ID; hublatch.sh revoke ID
#
# A link is a credential until it is used: give it to nobody but the browser that asked, and write it into no log.
set -eu

# The key goes in by a file descriptor: what stands on a command line, every user of the machine can read. No redirect
# is followed and no proxy asked with the key in hand. --no-buffer shows each event when it comes.
call() {
  path=$1
  shift
  case "${HUBLATCH_API_URL:-}" in
    http://* | https://*) ;;
    *) fail "set HUBLATCH_API_URL to the management address, such as http://127.0.0.1:8010" ;;
  esac
  if [ -n "${HUBLATCH_API_KEY_FILE:-}" ]; then
    key=$(cat "$HUBLATCH_API_KEY_FILE")
  else
    key=${HUBLATCH_API_KEY:-}
  fi
  [ -n "$key" ] || fail "set HUBLATCH_API_KEY_FILE, or HUBLATCH_API_KEY, to an app's key"
  printf 'Authorization: token %s\n' "$key" |
    curl --silent --show-error --fail-with-body --no-buffer --noproxy '*' --header @- "$@" "${HUBLATCH_API_URL%/}$path"
}

fail() {
  printf 'hublatch.sh: %s\n' "$1" >&2
  exit 1
}

# Each command takes one word more.
[ $# -eq 2 ] || set -- help
case "$1" in
  link) call /api/v1/links --data "$2" --header 'Content-Type: application/json' ;;
  url)
    status=0
    answer=$("$0" link "$2") || status=$?
    # hublatch writes its answer without spaces, and neither quotes nor backslashes can stand in a link.
    url=$(printf '%s\n' "$answer" | sed -n 's/.*"url":"\([^"]*\)".*/\1/p')
    case "$status $answer" in
      "0 "*) [ -n "$url" ] || fail "the answer holds no link; is HUBLATCH_API_URL the management address?" ;;
      *'"code":'*)
        printf '%s\n' "$answer" >&2
        exit "$status"
        ;;
      *"<"*) fail "no word of hublatch; is HUBLATCH_API_URL the management address?" ;;
      # What curl, or this script, has said already.
      *) exit "$status" ;;
    esac
    printf '%s\n' "$url"
    ;;
  progress) call "$2" ;;
  status) call "/api/v1/links/$2" ;;
  revoke) call "/api/v1/links/$2" --request DELETE ;;
  *)
    # The head of this file, without the line that says what runs it.
    sed -n -e '1d' -e '/^#/!q' -e 's/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
