#!/usr/bin/perl
# Metrics for statsd and dogstatsd: what arrives at a UDP socket, and after reloads and deaths.
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use JSON::PP;
use Test::More;
use Time::HiRes qw(time sleep);
use lib "$ENV{SRCDIR}/t/lib";
use Node;

sub listener { return IO::Socket::INET->new(LocalAddr => '127.0.0.1', Proto => 'udp') // die $! }

my ($plain, $tagged, $later) = (listener(), listener(), listener());
my %lines;	# by socket: what came, a line each

# Take what is there; the lines of that socket so far.
sub lines
{
	my ($s) = @_;

	while (IO::Select->new($s)->can_read(0)) {
		my $data;
		defined $s->recv($data, 65536) or last;
		cmp_ok length $data, '<=', 1432, 'a datagram that every path takes' if length $data > 1432;
		push @{$lines{fileno $s}}, split /\n/, $data;
	}
	return $lines{fileno $s} // [];
}

my $n = Node->new(name => 'sending', config => { telemetry => { statsd_address => '127.0.0.1:' . $plain->sockport, disable_hostname => JSON::PP::true,
	dogstatsd_addr => 'localhost:' . $tagged->sockport, dogstatsd_tags => ['env:test', 'team'],
	prefix_filter => ['-consul.memberlist', '+consul.memberlist.health'] } });

sub arrives
{
	my ($s, $re, $what) = @_;

	return ok $n->wait_for(sub { grep { $_ =~ $re } @{lines($s)} }, 45), $what;
}

arrives($plain, qr/^consul\.state\.nodes\.dc1:1\|g$/, 'a gauge, its label at the end of its name') or diag join "\n", @{lines($plain)};
arrives($plain, qr/^consul\.runtime\.sys_bytes:[1-9][0-9.e+]*\|g$/, 'one of all daemons together');
arrives($tagged, qr/^consul\.state\.nodes:1\|g\|#env:test,team,datacenter:dc1$/, 'with tags: of every line, and its labels');
$n->http('PUT', "/v1/kv/k$_", 'x' x $_) for 1 .. 40;
my $sum = sub { my ($s, $re) = @_; my $v = 0; for (@{lines($s)}) { $v += 1 / ($2 // 1) if /^$re:([0-9.e+-]+)\|ms(?:\|@([0-9.e+-]+))?(?:\||$)/ } return int $v + 0.5 };
ok $n->wait_for(sub { $sum->($plain, qr/consul\.kvs\.apply/) >= 40 }, 45), 'times of 40 writes';
is $sum->($plain, qr/consul\.kvs\.apply/), 40, 'by their rates exactly as many';
arrives($plain, qr/^consul\.rpc\.request:\d+\|c$/, 'a counter');
arrives($plain, qr/^consul\.api\.http\.PUT\.v1\.kv\._:[0-9.e+-]+\|ms(\|@[0-9.e+-]+)?$/, 'a time of a path');
arrives($tagged, qr/^consul\.api\.http:[0-9.e+-]+\|ms(?:\|@[0-9.e+-]+)?\|#env:test,team,method:PUT,path:v1\.kv\._$/, 'the same with tags');
arrives($plain, qr/^consul\.memberlist\.health\.score:0\|g$/, 'what the filter lets through');
ok !(grep { /^consul\.memberlist\.(?!health)/ } @{lines($plain)}, @{lines($tagged)}), 'and nothing that it keeps back';
my $one = qr/^[a-zA-Z0-9_.-]+:-?[0-9][0-9.e+-]*\|(?:g|c|ms(?:\|@[0-9.e+-]+)?)$/;
is_deeply [grep { $_ !~ $one } @{lines($plain)}], [], 'every line is one of statsd';

# ---- a daemon that dies counts from nothing, and nothing is counted twice
my %before = $n->pids;
CORE::kill('KILL', $before{httpd});
ok $n->wait_for(sub { my %now = $n->pids; $now{httpd} && $now{httpd} != $before{httpd} }), 'httpd dies and is started again';
%lines = ();
ok $n->wait_for(sub { ($n->http('GET', '/v1/status/peers'))[0] == 200 }), 'and serves';
arrives($plain, qr/^consul\.api\.http\.GET\.v1\.status\.peers:/, 'what it counts arrives');
is $sum->($plain, qr/consul\.kvs\.apply/), 0, 'and no write once more';

# ---- elsewhere from now on
$n->reload({ telemetry => { statsd_address => '127.0.0.1:' . $later->sockport, metrics_prefix => 'other' } });
arrives($later, qr/^other\.state\.nodes\.dc1:1\|g$/, 'after a reload elsewhere, under another prefix');
$n->write_config({ telemetry => { statsd_address => '' } });
is +($n->http('PUT', '/v1/agent/reload', ''))[0], 200, 'one of the two is switched off';
lines($later);
%lines = ();
ok $n->wait_for(sub { 2 <= grep { /^other\.state\.nodes:/ } @{lines($tagged)} }, 45), 'the other gets two rounds more';
is_deeply lines($later), [], 'and it gets nothing';

# ---- a stream, which is made again when it ends
my $site = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 4) // die $!;
$n->write_config({ telemetry => { statsite_address => '127.0.0.1:' . $site->sockport } });
is +($n->http('PUT', '/v1/agent/reload', ''))[0], 200, 'to a TCP socket as well';
for my $time (1, 2) {
	my ($stream, $text) = (undef, '');

	ok $n->wait_for(sub {
		$stream //= IO::Select->new($site)->can_read(0) ? $site->accept : undef;
		sysread $stream, $text, 65536, length $text if $stream && IO::Select->new($stream)->can_read(0);
		return $text =~ /^other\.state\.nodes\.dc1:1\|g\n/m && $text =~ /\n\z/;
	}, 45), "lines over connection $time";
	is_deeply [grep { $_ !~ $one } split /\n/, $text], [], 'as statsd has them';
}

# ---- an address that is none does no harm
$n->reload({ telemetry => { statsd_address => 'no-such-host.invalid:8125' } });
ok $n->wait_log(qr/statsd: no address: key=telemetry\.statsd_address host="no-such-host\.invalid"/), 'a name without an address is told of';
is +($n->http('PUT', '/v1/agent/service/register', '{"Name":"web"}'))[0], 200, 'and checkd serves';
unlike $n->log_text, qr/restart is needed for: daemon=checkd/, 'no restart was needed for any of it';
ok defined $n->stop, 'an end in time';
is $n->err_text, '', 'without a word from the sanitizers';

done_testing;
