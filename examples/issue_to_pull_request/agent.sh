# Started as: sh agent.sh "Work on issue 12: ..." in the folder of the issue.
set -eu
echo "I was told: $1"
echo "Hello from issue $ATHANORE_TASK_ID." >greeting.txt
git add greeting.txt
git -c user.name="An agent" -c user.email="agent@example.org" commit --quiet --message "Say hello"
