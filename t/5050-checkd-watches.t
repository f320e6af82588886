#!/usr/bin/perl
# Watches of the config files, on a real node.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use FakeAgent;
use File::Temp ();
use JSON::PP ();
use Node;
use Test::More;
use Time::HiRes qw(time);

my $dir = File::Temp->newdir("watches-$$-XXXXXX", TMPDIR => 1);
my $url = FakeAgent->new('POST /hook' => '', 'PUT /bad' => [500, 'no']);
my ($slow, $marker) = ("$dir/slow", "watched$$");
# Long, and of this run alone: others may run beside it.
my ($long, $stray) = ("3017$$", "3019$$");

sub slurp { my ($path) = @_; open my $f, '<', $path or return ''; local $/; return <$f> // ''; }
sub lines { my ($path) = @_; return slurp($path) =~ tr/\n//; }
sub cmdline { my ($pid) = @_; my $s = slurp("/proc/$pid/cmdline"); $s =~ tr/\0/ /; return $s; }
sub with { my ($re) = @_; return grep { cmdline($_) =~ $re } map { m{(\d+)$} } glob '/proc/[0-9]*'; }

my $script = "$dir/handler.sh";
Node::write_file($script, "#!/bin/sh\ncat >>$dir/seen; echo \"\$CONSUL_INDEX|\$*|\${CONSUL_HTTP_TOKEN-none}\" >>$dir/calls; echo said-by-the-handler\n");
chmod 0755, $script;
my $key = { type => 'key', key => "$marker/a", args => [$script, 'one', 'two words', '$x'], token => 'secret-of-the-watch' };
my @watches = (
	$key,
	{ type => 'keyprefix', prefix => "$marker/p/", handler => "echo \$CONSUL_INDEX >>$dir/prefix; exit 3" },
	{ type => 'services', http_handler_config => { path => 'http://' . $url->addr . '/hook', header => { 'X-Mine' => ['a', 'secret in a header'] } }, handler_type => 'http' },
	{ type => 'key', key => "$marker/slow", handler => "sleep $long & trap 'echo ended >>$slow; kill \$!; exit' TERM; echo began >>$slow; wait" },
	{ type => 'key', key => "$marker/stray", handler => "sleep $stray & echo began >>$dir/stray" },
	{ type => 'key', key => "$marker/gone", args => ['/nonexistent/handler'] },
);
my $n = Node->new(dev => 1, name => 'n1', config => { watches => \@watches });

# Each is run once at the start, and then for changes.
ok($n->wait_for(sub { lines("$dir/calls") >= 1 }), 'a handler is run at the start');
like(slurp("$dir/calls"), qr/^\d+\|one two words \$x\|/, 'with its words as they are, and the index');
like(slurp("$dir/seen"), qr/^null$/m, 'the key is not there yet');
$n->http('PUT', "/v1/kv/$marker/a", 'value');
ok($n->wait_for(sub { slurp("$dir/seen") =~ /"Key":"\Q$marker\E\/a"/ }), 'and for a change, which it can read');
ok($n->wait_for(sub { $n->log_text =~ /watch handler output: watch_handler="\Q$script\E" output="said-by-the-handler/ }), 'what it says is in the log');

# A handler that fails goes on.
my $before = lines("$dir/prefix");
ok($n->wait_for(sub { lines("$dir/prefix") >= 1 }), 'a line for the shell');
$n->http('PUT', "/v1/kv/$marker/p/x", '1');
ok($n->wait_for(sub { lines("$dir/prefix") >= 2 }), 'is run again after it has failed');
ok($n->wait_for(sub { $n->log_text =~ m{Error starting handler: /nonexistent/handler} }), 'one that is not there is told');

# To a URL.
ok($n->wait_for(sub { grep { $_->{path} eq '/hook' } $url->requests }), 'a change is sent to a URL');
my ($r) = grep { $_->{path} eq '/hook' } $url->requests;
is(ref JSON::PP->new->decode($r->{body}), 'HASH', 'as JSON');
like($r->{headers}{'x-consul-index'}, qr/^\d+$/, 'with the index');
is($r->{headers}{'x-mine'}, 'secret in a header', 'and headers of the configuration');

# Secrets are in the environment, not on the command line.
my ($pid) = with(qr{watch .*-key=\Q$marker\E/a});
ok(defined $pid, 'each watch is a process');
unlike(cmdline($pid), qr/secret-of-the-watch/, 'whose command line holds no token');
like(slurp("/proc/$pid/environ"), qr/CONSUL_HTTP_TOKEN=secret-of-the-watch/, 'its environment does');
is(scalar(with(qr/secret in a header/)), 0, 'nor headers');
my ($other) = with(qr{watch .*-prefix=\Q$marker\E/p/});
unlike(slurp("/proc/$other/environ"), qr/secret-of-the-watch/, 'and only its own');

# One that dies is run again.
kill 'KILL', $pid;
ok($n->wait_for(sub { my ($p) = with(qr{watch .*-key=\Q$marker\E/a}); defined $p && $p != $pid }), 'a watch that died is run again');
ok($n->wait_for(sub { lines("$dir/stray") >= 1 }), 'a handler that leaves something behind');
kill 'KILL', with(qr{watch .*-key=\Q$marker\E/stray});
ok($n->wait_for(sub { lines("$dir/stray") >= 2 }), 'which holds on to the output of a watch that died: it is run again all the same');

# Checkd dies: no watch is left behind, all begin anew.
my %pids = $n->pids;
my @old = with(qr/watch .*\Q$marker\E/);
kill 'KILL', $pids{checkd};
ok($n->wait_for(sub { !Node::alive(@old) }), 'watches die with checkd');
ok($n->wait_for(sub { scalar(with(qr/watch .*\Q$marker\E/)) == 5 }), 'and begin anew with it') or diag scalar(with(qr/watch .*\Q$marker\E/));

# Reload: what runs is ended, with its handler; the watches of now are run.
ok($n->wait_for(sub { my ($p) = with(qr/^sleep $long/); defined $p }), 'a handler that takes long');
my ($slow_pid) = with(qr{watch .*-key=\Q$marker\E/slow});
my $calls = lines("$dir/calls");
$n->reload({ watches => [$key, { type => 'nodes', handler => "cat >>$dir/nodes" }] });
ok($n->wait_for(sub { lines("$dir/nodes") >= 1 }), 'after a reload there are new ones');
ok($n->wait_for(sub { lines("$dir/calls") > $calls }), 'and those that stay are run once more');
ok($n->wait_for(sub { !Node::alive($slow_pid) && !with(qr/^sleep $long/) }), 'those that went are gone, with their handlers');
like(slurp($slow), qr/ended/, 'which were asked to end');
ok($n->wait_for(sub { scalar(with(qr/watch .*\Q$marker\E/)) == 1 }), 'one is left on the key');
kill 'KILL', with(qr/^sleep $stray/);

# A bad watch refuses the reload and changes nothing.
$n->reload({ watches => [{ type => 'key', args => ['x'] }] });
ok($n->wait_for(sub { $n->err_text . $n->log_text =~ /key/i && $n->log_text =~ /[Ff]ailed.*watch|watch.*key/ }), 'a bad watch is refused');
ok(scalar(with(qr{watch .*-key=\Q$marker\E/a})), 'and what runs goes on');
$n->write_config({ watches => [$key] });

my @left = with(qr/watch .*(\Q$marker\E|-type=nodes)/);
ok(defined $n->stop, 'the node ends');
is(scalar(Node::alive(@left)), 0, 'and its watches with it');
unlike($n->log_text, qr/AddressSanitizer|runtime error|LeakSanitizer/, 'nothing for the sanitizers');

# By a Unix socket.
my $u = Node->new(dev => 1, name => 'n2', wait => 'none', config => { addresses => { http => "unix://$dir/http.sock" },
	watches => [{ type => 'nodes', handler => "cat >>$dir/unix" }] });
ok($u->wait_for(sub { slurp("$dir/unix") =~ /"Node":"n2"/ }), 'a node that serves HTTP on a Unix socket alone') or diag $u->log_text;
$u->stop;

# Nowhere.
$u = Node->new(dev => 1, name => 'n3', wait => 'agent', config => { ports => { http => -1 }, watches => [{ type => 'nodes', handler => 'true' }] });
ok($u->wait_log(qr/watch plans require an HTTP or HTTPS endpoint/), 'without HTTP there are no watches');
$u->stop;
done_testing;
