#!/bin/sh
# hublatch's management API with curl (7.76 or later) and nothing else. Copy what you need.
#
#   export HUBLATCH_API_URL=http://127.0.0.1:8001 HUBLATCH_API_KEY_FILE=/run/secrets/hublatch.key
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
  key=$(cat "$HUBLATCH_API_KEY_FILE")
  printf 'Authorization: token %s\n' "$key" |
    curl --silent --show-error --fail-with-body --no-buffer --noproxy '*' --header @- "$@"
}

case "${1:-}" in
  link) call --data "$2" --header 'Content-Type: application/json' "$HUBLATCH_API_URL/api/v1/links" ;;
  url)
    answer=$("$0" link "$2")
    # hublatch writes its answer without spaces, and neither quotes nor backslashes can stand in a link.
    printf '%s\n' "$answer" | sed -n 's/.*"url":"\([^"]*\)".*/\1/p'
    ;;
  progress) call "$HUBLATCH_API_URL$2" ;;
  status) call "$HUBLATCH_API_URL/api/v1/links/$2" ;;
  revoke) call --request DELETE "$HUBLATCH_API_URL/api/v1/links/$2" ;;
  *)
    # The head of this file, without the line that says what runs it.
    sed -n -e '1d' -e '/^#/!q' -e 's/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
