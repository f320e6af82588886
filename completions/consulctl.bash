# bash completion for consulctl, and for a link named consul.
#
# Commands and flags are asked of the program itself, which takes a few
# milliseconds, so that they are always those of the installed version.

_consulctl_commands() {
	"$1" --help 2>/dev/null | sed -n 's/^    \([a-z][a-z -]*[a-z]\)   .*/\1/p'
}

_consulctl_flags() {
	"$@" -h 2>/dev/null | sed -n 's/^  \(-[a-z0-9_-]*\).*/\1/p'
}

_consulctl() {
	local program=${COMP_WORDS[0]} word=${COMP_WORDS[COMP_CWORD]} command='' commands i
	local -a words=()

	COMPREPLY=()
	commands=$(_consulctl_commands "$program")
	# The command is the words in front of the cursor that name one.
	for ((i = 1; i < COMP_CWORD && i < 4; i++)); do
		case $'\n'$commands$'\n' in
		*$'\n'"${command:+$command }${COMP_WORDS[i]}"$'\n'* | *$'\n'"${command:+$command }${COMP_WORDS[i]} "*)
			command=${command:+$command }${COMP_WORDS[i]}
			words+=("${COMP_WORDS[i]}")
			;;
		*)
			break
			;;
		esac
	done
	case $'\n'$commands$'\n' in
	*$'\n'"$command"$'\n'*)
		if [[ $word == -* ]]; then
			mapfile -t COMPREPLY < <(compgen -W "$(_consulctl_flags "$program" "${words[@]}")" -- "$word")
		else
			mapfile -t COMPREPLY < <(compgen -f -- "$word")
		fi
		;;
	*)
		# The next word of a command.
		mapfile -t COMPREPLY < <(compgen -W "$(sed -n "s/^${command:+$command }\([a-z-]*\).*/\1/p" <<<"$commands" | sort -u)" -- "$word")
		;;
	esac
}

complete -o default -F _consulctl consulctl consul
