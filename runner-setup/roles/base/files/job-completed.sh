# Called by the runner with `bash -e` after the last step of each job, in persistent mode only.
# Files that containers made can't be deleted by this user, so root's supervisor is asked to do it, and waited for:
# the next job must not begin in what is being deleted.
/usr/bin/touch "$THEBES_RUNNER_DIR/clean-request"
for _ in $(/usr/bin/seq 9000); do
  [ -e "$THEBES_RUNNER_DIR/clean-request" ] || exit 0
  /usr/bin/sleep 0.1
done
echo "::error::the runner's supervisor did not clean up after this job within 15 minutes"
exit 1
