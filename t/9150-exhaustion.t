#!/usr/bin/perl
# Everything that can run out: descriptors, connections, patience. Nothing crashes, others are served, and what was taken comes back.
use strict;
use warnings;
use IO::Socket::INET;
use IO::Socket::UNIX;
use Test::More;
use Time::HiRes qw(sleep time);
use lib "$ENV{SRCDIR}/t/lib";
use Dns;
use Frame;
use Node;
use Raw;

$SIG{PIPE} = 'IGNORE';
my $ours = 0;
{
	my ($hard) = Node::_slurp('/proc/self/limits') =~ /open files\s+\d+\s+(\d+)/;
	$ours = $hard;
}

sub info { my ($n, $name) = @_; return (Frame::Client->new("$n->{data_dir}/run/$name.sock")->ask('daemon.info'))[1] }
sub rss { my ($pid) = @_; my ($kb) = Node::_slurp("/proc/$pid/status") =~ /^VmRSS:\s+(\d+)/m; return $kb / 1024 }
sub ticks { my ($pid) = @_; my ($u, $s) = Node::_slurp("/proc/$pid/stat") =~ /\) . (?:\S+ ){10}(\d+) (\d+)/; return $u + $s }

# An HTTP connection from one of many addresses.
sub from
{
	my ($n, $i) = @_;

	return IO::Socket::INET->new(PeerAddr => $n->{ip}, PeerPort => $n->{ports}{http}, LocalAddr => '127.1.1.' . (1 + $i % 100), Timeout => 10);
}

sub ok_http { my ($n) = @_; my ($status) = $n->http('PUT', '/v1/kv/alive', 'x'); return $status == 200 }
sub ok_dns { my ($n) = @_; return @{(Dns::ask($n, 'web.service.consul', 'A') // { answer => [] })->{answer}} == 1 }
sub clean { my ($n) = @_; return join "\n", grep { /Sanitizer|runtime error|work still open/ } split /\n/, $n->log_text . $n->err_text }

# ---- a node that may open 100 files a daemon

{
	my $n = Node->new(start => 0, config => { log_level => 'info', services => [{ name => 'web', port => 80 }] });
	mkdir $n->{dir};
	Node::write_file("$n->{dir}/few", "#!/bin/sh\nulimit -n 100\nexec '$Node::BUILDDIR/consulctl/consulctl' \"\$@\"\n");
	chmod 0755, "$n->{dir}/few";
	$n->{program} = "$n->{dir}/few";
	$n->start;
	$n->wait_for(sub { $n->dig('web.service.consul', '+short') eq "$n->{ip}\n" });
	my %pids = $n->pids;

	my @held = map { from($n, $_) } 1 .. 300;
	push @held, map { Dns::socket_tcp($n) } 1 .. 300;
	for my $name (qw(gossipd checkd dnsd httpd)) {
		push @held, map { IO::Socket::UNIX->new(Peer => "$n->{data_dir}/run/$name.sock") } 1 .. 150;
	}
	ok $n->wait_log(qr/agent\.http: cannot accept connections for now/), 'no descriptors are left, and the log says so';
	my %was = map { $_ => ticks($pids{$_}) } keys %pids;
	sleep 1;
	is_deeply [grep { ticks($pids{$_}) - $was{$_} > 60 } sort keys %pids], [], 'nobody spins';
	ok ok_dns($n), 'DNS over UDP is answered';
	# httpd has what it needs to find a new raftd all the same.
	kill 'KILL', $pids{raftd};
	ok $n->wait_for(sub { my %p = $n->pids; $p{raftd} && $p{raftd} != $pids{raftd} }), 'raftd can be started again';
	syswrite $held[0], "PUT /v1/kv/held HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx";
	IO::Select->new($held[0])->can_read(20);
	sysread $held[0], my $reply, 1000;
	like $reply // '', qr{^HTTP/1\.1 200 }, 'and serves those who are connected';
	cmp_ok scalar(() = $n->log_text =~ /cannot accept connections/g), '<', 20, 'the log is not flooded';
	@held = ();
	my $t = time;
	ok $n->wait_for(sub { ok_http($n) }, 20), sprintf 'with descriptors free it is as before, after %.1f s', time - $t;
	my %now = $n->pids;
	is_deeply [grep { $_ ne 'raftd' && $now{$_} != $pids{$_} } sort keys %pids], [], 'nobody else had to be started again';
	$n->stop;
	is clean($n), '', 'a clean end';
}

# ---- clients who stay

my $n = Node->new(config => { log_level => 'info', services => [{ name => 'web', port => 80 }], limits => { http_max_conns_per_client => 50 } });
$n->wait_for(sub { $n->dig('web.service.consul', '+short') eq "$n->{ip}\n" });
my %pids = $n->pids;
my $many = $ours > 3000 ? 2500 : $ours - 200;

{
	my $was = rss($pids{httpd});
	my @idle = grep { defined } map { from($n, $_) } 1 .. $many;
	is scalar @idle, $many, "$many idle connections from a hundred addresses";
	ok ok_http($n), 'HTTP is served beside them';
	cmp_ok +(rss($pids{httpd}) - $was) / $many * 1024, '<', 60, sprintf 'at %.1f KiB each', (rss($pids{httpd}) - $was) / $many * 1024;
	my @more = map { from($n, 0) } 1 .. 60;
	my $last = $more[-1];
	IO::Select->new($last)->can_read(10);
	sysread $last, my $got, 1000;
	like $got // '', qr{^HTTP/1\.1 429 Too Many Requests\r\n.*Your IP is issuing too many concurrent connections}s, 'too many of one address are told';
	ok ok_http($n), 'others are not';
}
ok $n->wait_for(sub { (info($n, 'httpd')->{httpd}{http_connections} // 99) <= 1 }), 'they are given back';

# Headers byte by byte, bodies that do not come, answers that nobody reads: each keeps only its own place.
{
	my @slow = map { from($n, $_) } 1 .. 300;
	my $text = "PUT /v1/kv/slow HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
	for my $i (0 .. length($text) - 2) {
		syswrite $_, substr $text, $i, 1 for @slow;
	}
	my @bodies = map { my $s = from($n, $_); syswrite $s, "PUT /v1/kv/never HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n" . 'x' x 1000; $s } 1 .. 300;
	my @chunks = map { my $s = from($n, $_); syswrite $s, "PUT /v1/kv/never HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"; $s } 1 .. 300;
	$n->http('PUT', "/v1/kv/large/$_", 'l' x 500000) for 1 .. 4;
	my @deaf = map { my $s = from($n, $_); syswrite $s, "GET /v1/kv/large?recurse HTTP/1.1\r\nHost: x\r\n\r\n"; $s } 1 .. 20;
	my $t = time;
	ok ok_http($n), 'others are served beside 900 slow clients';
	ok ok_dns($n), '... and DNS';
	cmp_ok time - $t, '<', 5, '... at once';
	syswrite $_, 'o' for @slow;
	my $served = 0;
	for (@slow) {
		IO::Select->new($_)->can_read(10);
		sysread $_, my $got, 1000;
		$served++ if ($got // '') =~ m{^HTTP/1\.1 200 };
	}
	is $served, 300, 'the slow are served when they are done';
	is +($n->http('GET', '/v1/kv/slow?raw'))[2], 'hello', '... whole';
}

# Clients who ask for more and more and take nothing.
{
	$n->http('PUT', "/v1/kv/large/$_", 'l' x 524288) for 1 .. 26;
	my $was = rss($pids{httpd});
	my @deaf = map { my $s = from($n, $_); syswrite $s, "GET /v1/kv/large/?recurse HTTP/1.1\r\nHost: x\r\n\r\n"; $s } 1 .. 24;
	my ($told, $begun, $late) = (0, 0, 0);
	for (@deaf) {
		IO::Select->new($_)->can_read(20);
		sysread $_, my $got, 1000;
		$told++ if ($got // '') =~ m{^HTTP/1\.1 503 .*too many large answers}s;
		$begun++ if ($got // '') =~ m{^HTTP/1\.1 200 };
		# A busy machine may not have had the answer in time.
		$late++ if ($got // '') =~ m{^HTTP/1\.1 500 };
	}
	cmp_ok $begun, '>=', 10, "large answers wait for $begun clients";
	is $begun + $told + $late, 24, "... and $told others are told that there are too many";
	cmp_ok rss($pids{httpd}) - $was, '<', 1200, sprintf '... before memory is gone (%.0f MiB more)', rss($pids{httpd}) - $was;
	ok $n->wait_for(sub { ok_http($n) }), '... others are served';
}
ok $n->wait_for(sub { info($n, 'httpd')->{httpd}{http_unsent} == 0 }), 'forgotten when they leave';
is +($n->http('GET', '/v1/kv/large/?recurse'))[0], 200, 'and a large answer is given again';
$n->http('DELETE', '/v1/kv/large?recurse');
is +($n->http('GET', '/v1/kv/never'))[0], 404, 'half a body is no value';

# ---- blocking queries by the thousand, different ones, all dropped at once

$n->http('PUT', '/v1/kv/watched', 'x');
my $index = $n->get_json('/v1/kv/watched')->[0]{ModifyIndex};
my $before = info($n, 'raftd')->{state}{blocking_queries};
my ($http_was, $raft_was) = (rss($pids{httpd}), rss($pids{raftd}));
for my $round (1 .. 3) {
	my @waiting = map {
		my $s = from($n, $_);
		syswrite $s, "GET /v1/kv/w$round/$_?index=$index&wait=10m HTTP/1.1\r\nHost: x\r\n\r\n";
		$s;
	} 1 .. $many;
	my $parked = 0;
	ok $n->wait_for(sub { ($parked = info($n, 'raftd')->{state}{blocking_queries}) >= $before + $many }), "$many clients wait, each for another key"
	    or diag "$parked parked, $before before";
	ok ok_http($n), 'writes go through';
	if ($round == 3) {
		$n->http('PUT', "/v1/kv/w3/$_", 'woken') for 1 .. 3;
		my $woken = 0;
		for (@waiting[0 .. 2]) {
			IO::Select->new($_)->can_read(10);
			sysread $_, my $got, 1000;
			$woken++ if ($got // '') =~ /"Value":"d29rZW4="/;
		}
		is $woken, 3, 'three of them are woken by their writes';
	}
	@waiting = ();
	ok $n->wait_for(sub { info($n, 'raftd')->{state}{blocking_queries} <= $before + 2 }), 'dropped, raftd forgets them all';
}
cmp_ok rss($pids{raftd}) - $raft_was, '<', 60, sprintf 'raftd gives memory back (%.0f MiB more)', rss($pids{raftd}) - $raft_was;
cmp_ok rss($pids{httpd}) - $http_was, '<', 120, sprintf 'httpd too (%.0f MiB more)', rss($pids{httpd}) - $http_was;

is_deeply { $n->pids }, \%pids, 'no daemon has ended';
ok ok_http($n) && ok_dns($n), 'all is well';
$n->stop;
is clean($n), '', 'a clean end';
done_testing;
