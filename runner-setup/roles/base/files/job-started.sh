# Called by the runner with `bash -e` before the first step of each job; see hook.py.
# One absolute path and no variables: nothing here can be redefined from outside.
/usr/bin/python3 -I /usr/local/lib/thebes-runner/job_started.py
