#!/usr/bin/perl
# What of the kinds of checks no other test shows: a TCP target that neither takes nor refuses, TTL checks in each
# state, and aliases that follow all states of what they stand for.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Test::More;
use IO::Select;
use IO::Socket::INET;
use Time::HiRes qw(time);
use Node;

my $n = Node->new(dev => 1, name => 'server', config => { check_update_interval => '0s' });
my $json = JSON::PP->new;

sub check
{
	my ($name, %def) = @_;
	my @r = $n->http('PUT', '/v1/agent/check/register', { Name => $name, %def });

	die "$name: $r[0] $r[2]" if $r[0] != 200;
}
sub becomes
{
	my ($name, $status, $output, $why) = @_;
	my $c;

	$n->wait_for(sub { $c = $n->get_json('/v1/agent/checks')->{$name}; $c->{Status} eq $status && $c->{Output} =~ $output });
	is $c->{Status}, $status, $why // "$name becomes $status";
	like $c->{Output}, $output, '... and says why';
	ok $n->wait_for(sub { grep { $_->{CheckID} eq $name && $_->{Status} eq $status } @{$n->get_json('/v1/health/node/server')} }), '... to the catalog, too';
}

# ---- TCP: a listener whose queue is full lets a connection hang

my $full = IO::Socket::INET->new(LocalAddr => $n->{ip}, Listen => 0) or die $!;
listen $full, 0;
my @fill;
for (1 .. 8) {
	my $s = IO::Socket::INET->new(PeerAddr => $n->{ip}, PeerPort => $full->sockport, Blocking => 0);
	push @fill, $s if $s;
}
my $t = time;
check('tcp-hang', TCP => "$n->{ip}:" . $full->sockport, Interval => '1s', Timeout => '400ms', Status => 'passing');
becomes('tcp-hang', 'critical', qr{^dial tcp \Q$n->{ip}\E:\d+: i/o timeout$}, 'a connection that hangs');
cmp_ok time - $t, '>=', 0.4, '... is given its time';
while (my $c = $full->accept) {
	push @fill, $c;
	last if @fill > 40 || !IO::Select->new($full)->can_read(0.2);
}
close $_ for @fill;
my $taker = fork // die;
if ($taker == 0) {
	close $_ while $_ = $full->accept;
	POSIX::_exit(0);
}
becomes('tcp-hang', 'passing', qr{: Success$}, '... and recovers when it is taken');
kill KILL => $taker;
waitpid $taker, 0;

# ---- TTL: what the application says

check('app', TTL => '1h');
for (['warn', 'warning'], ['fail', 'critical'], ['pass', 'passing']) {
	$n->http('PUT', "/v1/agent/check/$_->[0]/app?note=it+is+$_->[1]");
	becomes('app', $_->[1], qr{^it is $_->[1]$}, "the application says $_->[0]");
}
$n->http('PUT', '/v1/agent/check/update/app', { Status => 'warning', Output => 'by a body' });
becomes('app', 'warning', qr{^by a body$}, 'the application sends a body');

# ---- aliases

$n->http('PUT', '/v1/agent/service/register', { Name => 'db', Port => 1, Check => { CheckID => 'db-ttl', TTL => '1h', Status => 'passing' } });
$n->http('PUT', '/v1/agent/check/deregister/app');
$n->http('PUT', '/v1/agent/check/deregister/tcp-hang');
$n->http('PUT', '/v1/agent/service/register', { Name => 'web', Port => 2, Check => { CheckID => 'alias', AliasService => 'db', Interval => '10s' } });
becomes('alias', 'passing', qr{^All checks passing\.$}, 'an alias of what is well');
for (['warn', 'warning'], ['fail', 'critical'], ['pass', 'passing']) {
	$n->http('PUT', "/v1/agent/check/$_->[0]/db-ttl?note=x");
	becomes('alias', $_->[1], $_->[1] eq 'passing' ? qr{^All checks passing} : qr{^Aliased check "Service 'db' check" failing: x$}, "an alias of what is $_->[1]");
}
$n->http('PUT', '/v1/agent/service/deregister/db');
becomes('alias', 'critical', qr{^Service db could not be found on node server$}, 'an alias of what has gone');
ok $n->wait_for(sub { $n->dig('web.service.consul') =~ /status: NXDOMAIN/ }), '... which DNS does not give any more';
$n->stop;
is join("\n", grep { /Sanitizer|runtime error/ } split /\n/, $n->log_text . $n->err_text), '', 'a clean end';
done_testing;
