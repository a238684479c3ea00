#!/usr/bin/env bash
# What the scripted agent of scripts/quickstart does in its task: it works, and it tries what it must not.
#   agent.sh OTHER_BRANCH SUBJECT PATCH    (runs in the clone; CAGE_BRANCH is its own branch)
# Writes what it did to ~/transcript.txt; exit code 0 when everything went as a cage should let it.
set -uo pipefail
other=$1 subject=$2 patch=$3
failed=0

said() { sed 's/^/    /'; }
expect() { # expect WANTED(0|refused) EXIT_CODE WHAT
	if { [ "$1" = 0 ] && [ "$2" -eq 0 ]; } || { [ "$1" = refused ] && [ "$2" -ne 0 ]; }; then
		echo "  ok: $3"
	else
		echo "  NOT AS EXPECTED: $3 (exit code $2)"
		failed=1
	fi
}

work() {
	echo "1. edit and commit on $CAGE_BRANCH"
	if [ -n "$patch" ]; then
		printf '%s\n' "$patch" | git apply --index
	else
		printf 'Written by a task on %s.\n' "$CAGE_BRANCH" >>NOTES.md && git add NOTES.md
	fi
	git commit -q -m "$subject"
	expect 0 $? "$(git log -1 --format='committed %h %s')"

	echo '2. run the tests of the project'
	if [ -n "$patch" ]; then
		npm test >"$HOME/tests.txt" 2>&1
		expect 0 $? "$(grep -oE '(pass|fail) [0-9]+' "$HOME/tests.txt" | paste -sd, - | sed 's/,/, /')"
	else
		echo '  left out: only the example is known to run without installing anything'
	fi

	echo '3. talk to a host that nobody allowed (example.com)'
	python3 - <<'PY' | said
import sys, urllib.error, urllib.request
# By name it does not even resolve; through the explicit proxy the sidecar says why.
proxy = urllib.request.ProxyHandler({'https': 'http://127.0.0.1:3128'})
try:
    urllib.request.build_opener(proxy).open('https://example.com/', timeout=20)
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
    sys.exit(9)
except OSError as error:
    print(error)
    sys.exit(9)
PY
	expect refused "${PIPESTATUS[0]}" 'refused, with the reason above'

	echo '4. read a host that the preset npm allows'
	node - <<'JS' | said
fetch('https://' + 'registry.npmjs.org' + '/semver/latest').then(async (response) => {
  const {name, version} = await response.json()
  console.log(response.status, name, version)
  process.exit(response.ok ? 0 : 1)
}, (error) => { console.log(error.cause?.message ?? error.message); process.exit(1) })
JS
	expect 0 "${PIPESTATUS[0]}" 'read through the sidecar'

	echo "5. push to the other task's branch"
	git push --force origin "HEAD:refs/heads/$other" 2>&1 | said
	expect refused "${PIPESTATUS[0]}" 'refused, with the reason above'

	echo '6. push its own branch'
	git push origin "HEAD:refs/heads/$CAGE_BRANCH" 2>&1 | said
	expect 0 "${PIPESTATUS[0]}" "pushed $CAGE_BRANCH"
	return "$failed"
}

work 2>&1 | tee "$HOME/transcript.txt"
exit "${PIPESTATUS[0]}"
