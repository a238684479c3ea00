# Interactive shells.
[ -n "${PS1:-}" ] || return
shopt -s checkwinsize
PS1='\u@\h:\w\$ '
# A shell that is the task's agent says when it waits for the person.
if [ "${CAGE_AGENT_PANE:-}" = 1 ]; then
	PROMPT_COMMAND='/usr/lib/cage/agent-state waiting'
	PS0='$(/usr/lib/cage/agent-state working)'
fi
