#!/usr/bin/perl
# Many clients do everything at once, and hang up whenever they like, while daemons are killed: in the end all is served, and nothing is left.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Acl;
use Errno qw(EAGAIN EINPROGRESS EINTR EWOULDBLOCK);
use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use Node;
use Raw;
use Socket qw(SOL_SOCKET SO_RCVBUF);
use Test::More;
use Time::HiRes qw(sleep time);

my $seed = $ENV{TEST_SEED} // int rand 1 << 31;
my ($seconds, $clients) = ($ENV{STRESS_SECONDS} // 15, 120);
srand $seed;
diag "TEST_SEED=$seed";
$SIG{PIPE} = 'IGNORE';

my $n = Acl::node(config => { log_level => 'info', limits => { http_max_conns_per_client => 1000 } });
my $json = JSON::PP->new->canonical->allow_nonref;
# Whose rights come and go.
my $fickle = Acl::put($n, '/v1/acl/policy', { Name => 'fickle', Rules => 'key_prefix "" { policy = "read" }' });
my $token = Acl::put($n, '/v1/acl/token', { Policies => [{ Name => 'fickle' }] })->{SecretID};
my ($index, %count, %answered) = (1);

# What `info` tells of a daemon: name => value.
sub info
{
	my ($section) = @_;
	my (undef, $out) = $n->ctl('info', "-token=$Acl::ROOT");
	my ($text) = $out =~ /^\Q$section\E:\n((?:\t.*\n)*)/m;

	return { ($text // '') =~ /^\t(\S+) = (.*)$/mg };
}
sub fds
{
	my %pids = $n->pids;
	opendir my $d, "/proc/$pids{httpd}/fd" or return -1;
	return scalar grep { !/^\./ } readdir $d;
}

# ---- what clients ask

sub pick { return $_[rand @_] }
sub key { return 'stress/' . pick('a/', 'b/', '') . int rand 20 }
sub body { return 'Content-Length: ' . length($_[0]) . "\r\n\r\n$_[0]" }
sub request
{
	my ($method, $target, $body, @headers) = @_;
	my $secret = pick(($Acl::ROOT) x 8, $token, $token, '', 'nobody');
	push @headers, "X-Consul-Token: $secret" if $secret ne '';
	my $text = join "\r\n", "$method $target HTTP/1." . (rand() < 0.05 ? 0 : 1), 'Host: x', @headers, rand() < 0.3 ? 'Accept-Encoding: gzip' : ();

	return "$text\r\n" . (defined $body ? body($body) : "\r\n");
}
sub waiting { return 'index=' . pick($index, $index, 1, $index + 1000) . '&wait=' . pick(qw(300ms 2s 10s)) . pick('', '', '&stale', '&consistent') }
sub instance
{
	my $id = 1 + int rand 5;

	return $json->encode({ Node => "n$id", Address => "10.0.0.$id", Service => { ID => "web$id", Service => 'web', Port => 1 + int rand 3, Tags => [pick(qw(a b))] },
		Check => { CheckID => "c$id", Name => 'c', ServiceID => "web$id", Status => pick(qw(passing critical)), Output => 'x' x rand 3000 } });
}
sub topics { return join '&', map { 'topic=' . pick('kv:stress/', 'kv:', 'kv:stress/a/', 'service:web', 'service:none', 'node:n1', 'node:' . $n->{name}) } 1 .. 1 + rand 4 }

my %asks = (
	get => [10, sub { request('GET', '/v1/kv/' . pick(key(), 'stress/?recurse', 'stress/?keys', '?recurse&limit=3', 'stress/?count')) }],
	put => [15, sub { request('PUT', '/v1/kv/' . key(), 'v' x rand(pick(10, 10, 40000))) }],
	delete => [3, sub { request('DELETE', '/v1/kv/' . pick(key(), 'stress/a/?recurse')) }],
	wait => [15, sub { request('GET', '/v1/kv/' . pick(key(), 'stress/?recurse', 'none') . '?' . waiting()) }],
	health => [12, sub { request('GET', '/v1/health/service/web?' . pick('passing&', 'filter=Service.Port==2&', '', 'tag=a&') . waiting()) }],
	cached => [8, sub { request('GET', '/v1/' . pick(qw(health/service/web catalog/service/web catalog/services)) . '?cached' .
		pick('', '&tag=a', '&passing', '&' . waiting()), undef, pick('X-Y: z', 'Cache-Control: max-age=0', 'Cache-Control: must-revalidate', 'Cache-Control: max-age=1, stale-if-error=9')) }],
	stream => [12, sub { request('GET', '/v1/stream?' . topics() . pick('', '&index=' . $index, '&heartbeat=1s', '&index=99999999'), undef, pick('X-Y: z', 'Accept: text/event-stream')) }],
	register => [6, sub { request('PUT', '/v1/catalog/register', instance()) }],
	deregister => [2, sub { request('PUT', '/v1/catalog/deregister', $json->encode({ Node => 'n' . (1 + int rand 5) })) }],
	service => [3, sub { request('PUT', '/v1/agent/service/register', $json->encode({ ID => 's' . int rand 4, Name => 'local', Check => { TTL => '10s' } })) }],
	gone => [2, sub { request('PUT', '/v1/agent/service/deregister/s' . int rand 4) }],
	hash => [2, sub { request('GET', '/v1/agent/service/s' . int(rand 4) . '?wait=2s&hash=0123456789abcdef') }],
	event => [1, sub { request('GET', '/v1/event/list?' . waiting()) }],
	rights => [2, sub { "PUT /v1/acl/policy/$fickle->{ID} HTTP/1.1\r\nX-Consul-Token: $Acl::ROOT\r\nHost: x\r\n" . body($json->encode({ ID => $fickle->{ID}, Name => 'fickle',
		Rules => pick('', 'key_prefix "" { policy = "write" }', 'service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }', 'key_prefix "stress/a" { policy = "read" } agent_prefix "" { policy = "read" }') })) }],
	authorize => [2, sub { request('POST', '/v1/internal/acl/authorize', '[{"Resource":"key","Access":"read","Segment":"a"}]') }],
	token => [1, sub { request('PUT', '/v1/agent/token/default', $json->encode({ Token => pick('', '', $token) })) }],
	txn => [4, sub { request('PUT', '/v1/txn', $json->encode([map { { KV => { Verb => pick(qw(set get delete)), Key => key(), Value => 'eA==' } } } 1 .. 1 + rand 5])) }],
	monitor => [3, sub { request('GET', '/v1/agent/monitor?loglevel=trace') }],
	metrics => [2, sub { request('GET', '/v1/agent/' . pick(qw(metrics self members services host))) }],
	snapshot => [1, sub { request('GET', '/v1/snapshot') }],
	bad => [3, sub { pick("GET / HTTP/9.9\r\n\r\n", "\r\n\r\n", "PUT /v1/kv/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "GET /v1/kv/%zz HTTP/1.1\r\nHost: x\r\n\r\n",
		"PUT /v1/kv/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc", "HEAD /v1/kv/x HTTP/1.1\r\nHost: x\r\n\r\n", "OPTIONS /v1/kv/x HTTP/1.1\r\nHost: x\r\n\r\n",
		"PUT /v1/kv/x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n") }],
);
my @bag = map { ($_) x $asks{$_}[0] } sort keys %asks;

# ---- clients: { s, out, in, name, until, slow, shut }

my %open;
my $sel = IO::Select->new;

sub hang_up
{
	my ($c) = @_;

	$sel->remove($c->{s});
	delete $open{$c->{s}};
	# Sometimes with what would otherwise be sent still in the socket: a reset.
	setsockopt $c->{s}, SOL_SOCKET, Socket::SO_LINGER(), pack('ii', 1, 0) if rand() < 0.2;
	close $c->{s};
}
sub ask
{
	my ($c) = @_;

	$c->{name} = pick(@bag);
	$count{$c->{name}}++;
	$c->{out} = join '', map { $asks{$c->{name}}[1]->() } 1 .. (rand() < 0.1 ? 4 : 1);
	$c->{out} = substr $c->{out}, 0, rand length $c->{out} if rand() < 0.05;
	$c->{until} = time + pick(0, 0.05, 0.5, 2, 6);
	$c->{slow} = rand() < 0.15;
	$c->{shut} = rand() < 0.1;
	$c->{in} = '';
}
sub connect_one
{
	my $s = IO::Socket::INET->new(PeerAddr => $n->{ip}, PeerPort => $n->{ports}{http}, Proto => 'tcp', Timeout => 5) or return;

	setsockopt $s, SOL_SOCKET, SO_RCVBUF, 4096 if rand() < 0.2;
	$s->blocking(0);
	my $c = { s => $s };
	$open{$s} = $c;
	$sel->add($s);
	ask($c);
}
sub write_some
{
	my ($c) = @_;
	my $k = syswrite $c->{s}, $c->{out}, $c->{slow} ? 50 : 65536;

	return $!{EAGAIN} || $!{EINTR} if !defined $k;
	substr($c->{out}, 0, $k) = '';
	shutdown $c->{s}, 1 if $c->{shut} && $c->{out} eq '';
	return 1;
}
sub read_some
{
	my ($c) = @_;

	return 1 if $c->{slow} && rand() < 0.8;
	my $k = sysread $c->{s}, my $text, $c->{slow} ? 200 : 65536;
	return $!{EAGAIN} || $!{EINTR} if !defined $k;
	return 0 if $k == 0;
	$index = $1 if $text =~ /^X-Consul-Index: (\d+)/m;
	$answered{$c->{name}}++ if $text =~ /^HTTP\/1\.1 [2-5]\d\d /m;
	$c->{in} = substr $c->{in} . $text, -4096;
	# A whole answer: the next request on the same connection, or not.
	ask($c) if $c->{name} !~ /stream|monitor/ && $text =~ /^HTTP\/1\.1 \d+ .*?\r\n\r\n/s && rand() < 0.7;
	return 1;
}
sub turn
{
	my @writers = grep { $_->{out} ne '' } values %open;
	my ($can_read, $can_write) = IO::Select::select($sel, IO::Select->new(map { $_->{s} } @writers), undef, 0.02);
	my $now = time;

	for my $s (@{$can_write // []}) { my $c = $open{$s} or next; write_some($c) or hang_up($c) }
	for my $s (@{$can_read // []}) { my $c = $open{$s} or next; read_some($c) or hang_up($c) }
	$_->{until} < $now and hang_up($_) for values %open;
}

# ---- everything at once

my @doom = qw(raftd httpd checkd raftd httpd gossipd dnsd);
my ($end, $next, %killed) = (time + $seconds, time + 2);
while (time < $end) {
	connect_one() while keys %open < $clients;
	turn();
	next if time < $next;
	$next = time + 1 + rand 2;
	my (%pids, $who) = $n->pids;
	$who = pick(@doom);
	if (rand() < 0.2) {
		$n->signal('HUP');
	} elsif ($pids{$who}) {
		kill 'KILL', $pids{$who};
		$killed{$who}++;
	}
}
diag join ' ', map({ "$_=$count{$_}" } sort keys %count), 'killed:', map { "$_=$killed{$_}" } sort keys %killed;

is join(' ', grep { !$answered{$_} } sort keys %asks), '', 'every kind of question was answered while it lasted';

# ---- everything answers

my %root = ('X-Consul-Token' => $Acl::ROOT);
sub served { my ($m, $p, $b) = @_; my ($s, $t) = Acl::http($n, $Acl::ROOT, $m, $p, $b); return $s == 200 ? $t : undef }
ok $n->wait_for(sub { served('PUT', '/v1/kv/last', 'x') }), 'a write succeeds';
# The last kills may have been a moment ago.
ok $n->wait_for(sub { my $i = info('consulctl'); 5 == grep { ($i->{$_} // '') =~ /^ready / } qw(raftd httpd checkd gossipd dnsd) }), 'all daemons are there';
my $r = Raw->new($n)->ask('GET', '/v1/kv/last', \%root);
my $s = Raw->new($n);
my $w = Raw->new($n);
$s->send("GET /v1/stream?topic=kv:last HTTP/1.0\r\nX-Consul-Token: $Acl::ROOT\r\n\r\n");
ok $n->wait_for(sub { $s->_more(time + 0.1); $s->{in} =~ /"snapshot"/ }), 'a stream begins';
$w->send("GET /v1/kv/last?index=$r->{headers}{'X-Consul-Index'}&wait=60s HTTP/1.1\r\nHost: x\r\nX-Consul-Token: $Acl::ROOT\r\n\r\n");
ok $n->wait_for(sub { info('httpd')->{blocking_queries} > 0 }), 'somebody waits';
ok served('PUT', '/v1/kv/last', 'y'), 'a change';
is $w->reply->{status}, 200, 'wakes who waits';
ok $n->wait_for(sub { $s->_more(time + 0.1); $s->{in} =~ /"Type":"upsert"[^\n]*"Value":"eQ=="/ }), 'and comes down the stream';
ok served('GET', '/v1/health/service/web?cached'), 'something cached';
ok $n->wait_for(sub { defined served('PUT', '/v1/agent/service/register', '{"Name":"after"}') }), 'this node takes services';
ok $n->wait_for(sub { (served('GET', '/v1/catalog/service/after') // '[]') ne '[]' }), 'which come into the catalog';

# ---- and nothing is left when all have gone

hang_up($_) for values %open;
$_->close for $s, $w;
my ($left, $fds);
ok $n->wait_for(sub {
	$left = info('httpd');
	# The one who asks has a connection and a request.
	return ($left->{http_connections} // 9) <= 1 && $left->{http_requests} <= 1 && !grep { $left->{$_} } qw(blocking_queries blocking_upstream streams stream_topics http_unsent);
}), 'nobody is served any more' or diag explain $left;
cmp_ok $fds = fds(), '<=', 24, 'no descriptor is left';
cmp_ok $left->{cache_bytes}, '<=', 64 << 20, 'the cache is within its bounds';
# What waits in raftd: one for each entry of the cache, and what the daemons watch.
my $parked;
ok $n->wait_for(sub { $left = info('httpd'); $parked = info('state')->{blocking_queries}; $parked <= $left->{cache_entries} + 20 }), 'nor does raftd hold questions that nobody asks'
    or diag "parked=$parked cached=$left->{cache_entries}";
# A server does not leave for an interrupt.
is $n->stop, 1, 'it ends' or diag substr $n->log_text, -3000;
my $log = $n->log_text . $n->err_text;
unlike $log, qr/Sanitizer|runtime error|work still open|[Aa]ssertion/, 'and nothing broke';
is join(' ', grep { !/signal="Killed"/ } $log =~ /(Daemon died: .*)$/mg), '', 'nobody died but those who were killed';
done_testing;
