# The smallest agent: what it puts out is logged, and exit code 0 means success.
echo "Done with $ATHANORE_TASK_NAME."
