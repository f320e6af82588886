#!/usr/bin/perl
# What clients see when another daemon is away: reads and writes are held, waits go on, and writes happen once.
use strict;
use warnings;
use Test::More;
use JSON::PP;
use Time::HiRes qw(time sleep);
use lib "$ENV{SRCDIR}/t/lib";
use Node;
use Raw;

my $n = Node->new(config => { performance => { rpc_hold_timeout => '2s' } }, wait => 'agent');
my $json = JSON::PP->new->allow_nonref;
my ($r, $t, %pids);

sub ask { return Raw->new($n)->ask(@_) }
sub begin { my ($m, $target, $body) = @_; my $c = Raw->new($n);
	$c->send("$m $target HTTP/1.1\r\nHost: x\r\n" . (defined $body ? 'Content-Length: ' . length($body) . "\r\n\r\n$body" : "\r\n")); return $c }

$n->wait_for(sub { ask('PUT', '/v1/kv/a', {}, '1')->{status} == 200 });
my $i = ask('GET', '/v1/kv/a')->{headers}{'X-Consul-Index'};

# ---- raftd is killed: requests wait for the next one
my $watch = begin('GET', "/v1/kv/a?index=$i&wait=60s");
%pids = $n->pids;
kill 'KILL', $pids{raftd};
my $read = begin('GET', '/v1/kv/a?raw');
my $write = begin('PUT', '/v1/kv/b', '2');
$r = $read->reply;
is "$r->{status} $r->{body}", '200 1', 'a read is held until raftd is back';
$r = $write->reply;
is "$r->{status} $r->{body}", '200 true', 'a write too';
ok !defined $watch->reply(seconds => 0.1), 'a blocking query goes on';
ask('PUT', '/v1/kv/a', {}, '3');
$r = $watch->reply;
is $json->decode($r->{body})->[0]{Value}, 'Mw==', 'and is woken by a later write';

# ---- writes under way when it dies happen once: a counter in steps of CAS
ask('PUT', '/v1/kv/n', {}, 0);
my $index = $n->get_json('/v1/kv/n')->[0]{ModifyIndex};
my ($done, $lost) = (0, 0);
for my $k (1 .. 60) {
	if ($k == 20 || $k == 40) {
		%pids = $n->pids;
		kill 'KILL', $pids{raftd};
	}
	$r = ask('PUT', "/v1/kv/n?cas=$index", {}, $k);
	# Refused would mean: carried out before, and told as a failure now.
	$r->{body} eq 'true' ? $done++ : $lost++;
	$index = $n->get_json('/v1/kv/n')->[0]{ModifyIndex};
}
is "$done $lost", '60 0', 'no write is lost, none happens twice';

# ---- raftd hangs
%pids = $n->pids;
kill 'STOP', $pids{raftd};
$t = time;
$read = begin('GET', '/v1/kv/a');
$write = begin('PUT', '/v1/kv/hung', 'x');
my $wait = begin('GET', "/v1/kv/a?index=999999&wait=500ms");
$r = $read->reply;
is "$r->{status} $r->{body}", '500 No cluster leader', 'a read gives up';
ok time - $t >= 2, 'not before the hold time';
$r = $write->reply;
is $r->{status}, 500, 'a write gives up';
like $r->{body}, qr/it is unknown whether the request was carried out/, 'and says that its outcome is unknown';
$r = $wait->reply;
is $r->{status}, 500, 'a wait whose time has come has nothing to show';
is ask('GET', '/')->{body}, 'Consul Agent', 'the rest is served';
$t = time;
ok ref $n->get_json('/v1/agent/self'), 'agent/self as well';
kill 'CONT', $pids{raftd};
ok $n->wait_for(sub { ask('GET', '/v1/kv/a')->{status} == 200 }), 'all is well when it goes on';

# ---- checkd and gossipd
for my $d (['checkd', '/v1/agent/services'], ['gossipd', '/v1/agent/members']) {
	my ($name, $target) = @$d;
	%pids = $n->pids;
	kill 'KILL', $pids{$name};
	is ask('GET', $target)->{status}, 200, "$target waits for $name to come back";
}

# ---- httpd itself: the listener stays
%pids = $n->pids;
my $idle = Raw->new($n);
$idle->ask('GET', '/v1/kv/a');
kill 'KILL', $pids{httpd};
my $refused = 0;
for (1 .. 20) {
	my $c = eval { Raw->new($n) };
	$refused++ if !$c;
	sleep 0.01;
}
is $refused, 0, 'no connection is refused while httpd is replaced';
is ask('GET', '/v1/kv/a?raw')->{body}, '3', 'the new one serves';
ok $idle->closed, 'connections of the old one have ended';

# ---- it stops in time whatever it waits for
%pids = $n->pids;
kill 'STOP', $pids{raftd};
my @waiting = map { begin('GET', '/v1/kv/a') } 1 .. 5;
push @waiting, begin('PUT', '/v1/kv/a', 'x'), begin('GET', '/v1/agent/monitor');
sleep 0.05;
ask('GET', '/');
kill 'TERM', $pids{httpd};
ok $n->wait_for(sub { !Node::alive($pids{httpd}) }, 10), 'a stop ends requests that wait for a daemon that hangs';
kill 'CONT', $pids{raftd};
ok $n->wait_log(qr/stopping with work still open/), 'and says so';
like $n->log_text, qr/Daemon (died|stopped|exited)?.*daemon=httpd pid=$pids{httpd}(?!.*signal)/, 'without a crash';
ok $n->wait_for(sub { (ask('GET', '/v1/kv/a') // { status => 0 })->{status} == 200 }), 'the next one serves';

$n->stop;
unlike $n->log_text . $n->err_text, qr/Sanitizer|runtime error|Fatal error/, 'a clean end';
done_testing;
