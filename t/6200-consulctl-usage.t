#!/usr/bin/perl
# The table of commands and what is made of it: usage, help, the man page, completions.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Cwd ();
use Ctl;
use Test::More;

my $src = Cwd::abs_path($ENV{SRCDIR});

# No command, unknown commands, groups
my ($code, $out, $usage) = ctl({});
is($code, 127, 'no command: 127');
is($out, '', 'usage on the standard error');
like($usage, qr/^Usage: consulctl \[--version\] \[--help\] <command> \[<args>\]\n/, 'usage');
is_deeply([ctl({}, 'frobnicate')], [127, '', $usage], 'an unknown command: the same');
is_deeply([ctl({}, $_)], [0, $usage, ''], $_) for qw(-h -help --help);
for my $group (qw(kv catalog services snapshot operator), 'operator raft', 'operator autopilot') {
	my @words = split / /, $group;
	my @got = ctl({}, @words);

	is($got[0], 1, "$group alone: 1");
	like($got[2], qr/^Usage: consulctl $group <subcommand>/, 'prints its subcommands');
	is_deeply([ctl({}, @words, 'frobnicate')], \@got, 'as with an unknown one');
	is_deeply([ctl({}, @words, '-h')], [0, $got[2], ''], "$group -h");
}

# Version
my @version = ctl({}, 'version');
like($version[1], qr/^Consulctl v\d+\.\d+\.\d+\nCompatible with Consul v1\.10\.12\n/, 'version');
is_deeply([ctl({}, $_)], \@version, $_) for qw(-v -version --version);
like((ctl({}, qw(version -format=json)))[1], qr/^\{\n    "Version": "\d/, 'version -format=json');
is((ctl({}, qw(version -format=x)))[0], 1, 'another format');
my @keys = map { (ctl({}, 'keygen'))[1] } 1 .. 2;
like($keys[0], qr{^[A-Za-z0-9+/]{43}=\n$}, 'keygen prints 32 bytes');
isnt($keys[0], $keys[1], 'others each time');

# Every command
my @commands = map { /^    (\S+(?: \S+)*)  / ? $1 : () } split /\n/, $usage;
cmp_ok(scalar @commands, '>', 20, 'commands are listed');
is_deeply(\@commands, [sort @commands], 'in order');
my $page = `mandoc -T ascii $src/man/consulctl.1 2>/dev/null`;
$page =~ s/.\x08//g;
my ($synopsis) = $page =~ /^SYNOPSIS\n(.*?)^[A-Z]/ms;
$synopsis =~ s/\s+/ /g if defined $synopsis;
for my $command (@commands) {
	my @got = ctl({}, split(/ /, $command), '-h');
	my ($line) = $got[1] =~ /^Usage: (.*)\n/;

	is_deeply([@got[0, 2]], [0, ''], "$command -h");
	like($line // '', qr/^consulctl \Q$command\E( |$)/, 'says how it is used');
	@got = ctl({}, split(/ /, $command), '-no-such-flag');
	is($got[0], 1, "$command with a flag that it does not have: 1");
	is($got[1], '', 'nothing on the standard output');
	like($got[2], qr/^flag provided but not defined: -no-such-flag\n/, 'the flag is named') unless $command eq 'agent';
}
SKIP: {
	skip 'mandoc is not installed', 1 if !defined $synopsis;
	my @lines = map { (ctl({}, split(/ /, $_), '-h'))[1] =~ /^Usage: (.*)\n/ } @commands;

	is($synopsis, ' ' . join(' ', @lines) . ' ', 'the synopsis of the man page is that of the help');
	for my $command (grep { $_ ne 'agent' } @commands) {
		my $help = (ctl({}, split(/ /, $command), '-h'))[1];
		my ($section) = $page =~ /^   \Q$command\E\n(.*?)^(?:   )?\S/ms;
		my ($own) = $help =~ /^Command Options\n(.*)/ms;
		my @flags = ($own // '') =~ /^  (-[a-z0-9-]+)/mg;
		my @page = ($section // '') =~ /^     (-[a-z0-9-]+)/mg;

		is_deeply(\@page, \@flags, "the man page has the flags of $command");
	}
}

# Completion
SKIP: {
	my $bash = (grep { -x } '/bin/bash', '/usr/bin/bash')[0] or skip 'bash is not installed', 1;
	my $complete = sub {
		my @words = @_;
		my $list = join ' ', map { "'$_'" } ctl_path(), @words;
		my $text = `$bash -c '. $src/completions/consulctl.bash; COMP_WORDS=($list); COMP_CWORD=@{[scalar @words]}; _consulctl; printf "%s\\n" "\${COMPREPLY[\@]}"' 2>&1`;

		return [split /\n/, $text];
	};
	my %first = map { (split / /)[0] => 1 } @commands;

	is_deeply($complete->(''), [sort keys %first], 'completion knows every command');
	is_deeply($complete->('mem'), ['members'], 'by its beginning');
	is_deeply($complete->('kv', ''), [qw(delete export get import put)], 'and subcommands');
	is_deeply($complete->('operator', 'raft', ''), [qw(list-peers recover remove-peer transfer-leader)], 'of groups in groups');
	is_deeply($complete->('kv', 'get', '-re'), ['-recurse'], 'and flags');
	is_deeply($complete->('members', '-token'), ['-token', '-token-file'], 'also the common ones');
}

done_testing;
