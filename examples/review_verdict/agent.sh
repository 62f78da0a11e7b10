# Started as: sh agent.sh ROLE PROMPT. The builder leaves a comment; the reviewer hands in a verdict.
set -eu
task="$ATHANORE_API_URL/tasks/$ATHANORE_TASK_ID"
call() {
    curl --silent --show-error --fail --retry 6 --noproxy '*' \
        --header "Authorization: Bearer $ATHANORE_TOKEN" \
        --header "Content-Type: application/json" "$@"
}

if [ "$1" = builder ]; then
    # What the reviewer asked for is in the comments, which the prompt has.
    case "$2" in
        *"There is no test."*) call --data '{"comment": "Built, with a test."}' "$task/comments" ;;
        *) call --data '{"comment": "Built."}' "$task/comments" ;;
    esac
    exit
fi

case "$(call "$task")" in
    *"Built, with a test."*) verdict='{"verdict": "approve"}' ;;
    *) verdict='{"verdict": "reject", "reasons": ["There is no test."]}' ;;
esac
call --data "{\"result\": $verdict}" "$task/result"
