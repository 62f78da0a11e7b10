# Started as: sh agent.sh "Work on issue 12: Fix crash. ..."
set -eu
task="$ATHANORE_API_URL/tasks/$ATHANORE_TASK_ID"
call() {
    curl --silent --show-error --fail --retry 6 --noproxy '*' \
        --header "Authorization: Bearer $ATHANORE_TOKEN" \
        --header "Content-Type: application/json" "$@"
}

echo "I was told: $1"
call "$task"
call --data '{"comment": "Said hello, from a shell."}' "$task/comments"
