# A login shell would otherwise forget what the image set.
PATH=/home/agent/.local/bin:/usr/local/bin:/usr/bin:/bin
