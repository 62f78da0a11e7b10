"""What people are asked and told: questions, approvals, notices, and keys for their programs."""
