# Called by the runner with `bash -e` after the last step of each job, in persistent mode only.
# Files that containers made can't be deleted by this user, so root's supervisor is asked to do it.
/usr/bin/touch "$THEBES_RUNNER_DIR/clean-request"
for _ in $(/usr/bin/seq 600); do
  [ -e "$THEBES_RUNNER_DIR/clean-request" ] || exit 0
  /usr/bin/sleep 0.1
done
echo "::error::the runner's supervisor did not clean the work folder within 60 s"
exit 1
