# Started as: sh agent.sh ROLE PROMPT. It leaves a comment; the route's done_queue moves the task.
set -eu
echo "As the $1 I was told: $2"
curl --silent --show-error --fail --retry 6 --noproxy '*' \
    --header "Authorization: Bearer $ATHANORE_TOKEN" \
    --header "Content-Type: application/json" \
    --data "{\"comment\": \"The $1 has finished.\"}" \
    "$ATHANORE_API_URL/tasks/$ATHANORE_TASK_ID/comments"
