#!/usr/bin/perl
# The README's three servers, and its ACLs: its commands, word for word, but on addresses of this test's own (127.0.0. becomes 127.A.B.).
use strict;
use warnings;
use File::Temp ();
use IPC::Open2;
use IO::Select;
use Test::More;
use Time::HiRes qw(time);
use lib "$ENV{SRCDIR}/t/lib";
use Node;

my $prefix = join '.', 127, 64 + (($$ >> 8) & 63), $$ & 255, '';
my $readme = Node::_slurp("$Node::SRCDIR/README.md");

# The commands of one section.
sub blocks
{
	my ($title) = @_;
	my ($section) = $readme =~ /^## \Q$title\E\n(.*?)^## /ms;
	my @blocks = $section =~ /^```sh\n(.*?)^```\n/msg;

	s/\b127\.0\.0\./$prefix/g for @blocks;
	return @blocks;
}

my @blocks = blocks('Three servers');
is scalar @blocks, 7, 'the README has seven blocks of commands';
like $blocks[0], qr/consulctl agent -server -bootstrap-expect=3/, 'the first starts servers';

# One shell for all blocks, as a reader has one.
my $tmp = File::Temp->newdir("quick-$$-XXXXXX", TMPDIR => 1);
my $pid = open2(my $out, my $in, 'env', "PATH=$Node::BUILDDIR/consulctl:$ENV{PATH}", "TMPDIR=$tmp", 'bash', '-c', "cd $tmp && exec bash");
my $n = 0;

# Run it; what it printed and its last exit code.
sub run
{
	my ($text) = @_;
	my ($end, $got, $mark) = (time + 3 * $Node::TIMEOUT, '', 'done-' . ++$n);

	print $in "{ $text\n} 2>&1; echo; echo $mark \$?\n";
	$in->flush;
	while ($got !~ /^$mark (\d+)\n/m) {
		IO::Select->new($out)->can_read($end - time) or return ($got, 'timeout');
		sysread $out, $got, 65536, length $got or return ($got, 'end');
	}
	my ($code) = $got =~ /^$mark (\d+)\n/m;
	$got =~ s/\n$mark \d+\n.*//s;
	note $got;
	return ($got, $code);
}

sub ok_run { my ($text, $name) = @_; my ($got, $code) = run($text); is $code, 0, $name or diag logs(); return $got }
sub logs { return join '', map { "$_:\n" . Node::_slurp($_) } glob "$tmp/quick/*.log" }

ok_run($blocks[0], 'three servers are started');
my $got = ok_run($blocks[1], 'they become a cluster');
my @peers = $got =~ /^(s\d\s.*)$/mg;
is scalar @peers, 3, 'of three';
is scalar(grep { /\bleader\s+true\b/ } @peers), 1, 'one of which leads';
like $got, qr/^Success! Data written to: app\/colour$/m, 'a write';

$got = ok_run($blocks[2], 'a client joins');
like $got, qr/^Successfully joined cluster by contacting 1 nodes\.$/m, 'through a server';
like $got, qr/^s$_ .* alive +server /m, "s$_ is a member" for 1 .. 3;
like $got, qr/^c1 .* alive +client /m, 'and so is the client';
like $got, qr/^blue$/m, 'which reads what servers keep';
like $got, qr/^Registered service: web$/m, 'a service is registered there';
like $got, qr/^c1 +[0-9a-f]{8} +\Q${prefix}4\E +dc1$/m, 'and found at a server';
$got = ok_run($blocks[3], 'it leaves');
like $got, qr/^Graceful leave complete$/m, 'gracefully';
like $got, qr/^c1 .* left +client /m, 'which the others see';

$got = ok_run($blocks[4], 'a lock is taken, and the leader killed');
my ($session) = $got =~ /^Session\s+([0-9a-f-]{36})$/m;
ok defined $session, 'by a session' or diag $got;
my ($leader) = (run('echo $leader'))[0] =~ /^(\Q$prefix\E\S+)/m;
like $leader, qr/^\Q$prefix\E[123]\z/, 'the leader that was';

my $began = time;
$got = ok_run($blocks[5], 'the others go on');
note sprintf 'after %.2f s', time - $began;
my @leaders = $got =~ /^(s\d)\s.*\bleader\s+true\b/mg;
is scalar @leaders, 1, 'one leads';
isnt $leaders[0], 's' . substr($leader, length $prefix), 'another one';
like $got, qr/^blue$/m, 'the data are there';
like $got, qr/^Success! Data written to: app\/colour$/m, 'a write goes through';
is +($got =~ /^Session\s+([0-9a-f-]{36})$/m)[0], $session, 'the lock is held by the same session';
is +($got =~ /^LockIndex\s+(\d+)$/m)[0], 1, 'and was never lost';
my $lines = () = Node::_slurp("$tmp/quick/job.log") =~ /\n/g;
my $end = time + $Node::TIMEOUT;
while ((() = Node::_slurp("$tmp/quick/job.log") =~ /\n/g) < $lines + 2 && time < $end) { select undef, undef, undef, 0.1 }
cmp_ok scalar(() = Node::_slurp("$tmp/quick/job.log") =~ /\n/g), '>=', $lines + 2, 'its job goes on';

$got = ok_run($blocks[6], 'the killed one comes back, and all are stopped');
like $got, qr/^green$/m, 'it has what it missed';
is +(run('jobs -r'))[0], '', 'nothing is left running';

@blocks = blocks('ACLs');
is scalar @blocks, 6, 'the section on ACLs has six';
ok_run($blocks[0], 'a server with ACLs is started');
$got = ok_run($blocks[1], 'the first token');
is +(() = $got =~ /^Success! Data written to: (?:app\/colour|secret\/key)$/mg), 2, 'may write';
unlike $got, qr/403/, 'everything';
like +(run('stat -c %a quick/bootstrap.json'))[0], qr/^600$/, 'and only its owner can read it';
$got = ok_run($blocks[2], 'the agent gets a token');
like $got, qr/^a1 +[0-9a-f]{8} +\Q${prefix}1\E +dc1$/m, 'with which it registers its node';
$got = ok_run($blocks[3], 'a policy and a token');
like $got, qr/"Name":"app-read"/, 'are made';
$got = ok_run($blocks[4], 'the token');
like $got, qr/^app\/colour:blue$/m, 'sees its prefix';
unlike $got, qr/hush/, 'and nothing else';
like $got, qr/lacks permission 'key:read' on "secret\/key"/, 'is refused another key';
like $got, qr/lacks permission 'key:write' on "app\/colour"/, 'is refused a write';
like $got, qr/^blue$/m, 'which has not taken place';
ok_run($blocks[5], 'the server is stopped');
is +(run('jobs -r'))[0], '', 'nothing is left running';
my @secrets = (run('echo $agent $reader; secret <quick/bootstrap.json'))[0] =~ /([0-9a-f]{8}-[0-9a-f-]{27})/g;
is scalar @secrets, 3, 'three secrets';
unlike logs(), qr/\Q$_\E/, 'which no log has' for @secrets;
unlike logs(), qr/Sanitizer|runtime error|\[ERROR\].*(?:core|refused an event)/, 'nothing went wrong';
close $in;
waitpid $pid, 0;
done_testing;

END {
	# Only what this test started.
	for my $file ($tmp ? glob("$tmp/quick/*.pid") : ()) {
		my $p = Node::_slurp($file) + 0;
		kill 'KILL', $p if $p && Node::_slurp("/proc/$p/cmdline") =~ /\Qquick\/\E/;
	}
}
