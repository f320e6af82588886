#!/usr/bin/perl
# Batches of registrations in a cluster: the leader is killed while they are on their way. Nothing is lost, nothing is there twice, all servers have the same.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Cluster;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(time sleep);

my $N = 1500;
my $c = Cluster->new(servers => 3, config => { check_update_interval => '0s' });
my $node = $c->add(server => 0, config_dir => { 'many.json' => { services => [] } });
my $leader = $c->leader;
my @others = $c->followers;

# What a server's own copy of the catalog has of the client: services with their ports, and their checks.
sub own
{
	my ($at) = @_;
	my $s = eval { $at->get_json("/v1/catalog/node/$node->{name}?stale")->{Services} } // {};
	my $h = eval { $at->get_json("/v1/health/node/$node->{name}?stale") } // [];

	return join ' ', (map { "$_:$s->{$_}{Port}" } sort grep { /^s\d/ } keys %$s), (map { "$_->{CheckID}=$_->{Status}" } sort { $a->{CheckID} cmp $b->{CheckID} } grep { $_->{ServiceID} =~ /^s\d/ } @$h);
}
sub want { my ($port, $status, @ids) = @_; my @s = map { sprintf 's%04d', $_ } @ids; return join ' ', (map { "$_:$port" } @s), map { "service:$_=$status" } @s }
sub services { my ($port, @ids) = @_; return { services => [map { { name => sprintf('s%04d', $_), port => $port, check => { ttl => '1h', status => 'passing' } } } @ids] } }
sub differs { my ($got, $want) = @_; return $got eq $want ? '' : length($got) . ' bytes, not ' . length $want }
# All of these servers come to have it.
sub everywhere
{
	my ($want, $what, @who) = @_;

	for my $s (@who) {
		my $got = '';
		$s->wait_for(sub { ($got = own($s)) eq $want }, $Node::TIMEOUT * 2);
		is(differs($got, $want), '', "$what at $s->{name}");
	}
}

is $c->wait_catalog($leader, map { $_->{name} => 'passing' } $c->nodes), '', 'a cluster with a client';

# ---- the leader dies while a node brings all that it has
$node->{config_dir}{'many.json'} = services(1, 1 .. $N);
my $pid = fork // die "fork: $!";
if ($pid == 0) {
	$node->reload;
	POSIX::_exit(0);
}
ok $others[0]->wait_for(sub { own($others[0]) ne '' }), 'some are there';
$c->crash($leader);
waitpid $pid, 0;
is $?, 0, 'many services are defined';
my $next = $c->next_leader($leader, @others);
everywhere(want(1, 'passing', 1 .. $N), 'all of them, with their checks,', @others);

# ---- and the next one while they change, and some go
$leader->start;
$c->wait_all;
$node->{config_dir}{'many.json'} = services(2, 101 .. $N + 100);
$pid = fork // die "fork: $!";
if ($pid == 0) {
	$node->reload;
	POSIX::_exit(0);
}
ok $leader->wait_for(sub { own($leader) =~ /s\d+:2/ }), 'some are there';
$c->crash($next);
waitpid $pid, 0;
is $?, 0, 'others are defined, with another port';
my @left = grep { $_ != $next } $c->servers;
$c->next_leader($next, @left);
everywhere(want(2, 'passing', 101 .. $N + 100), 'exactly those', @left);
$next->start;
$c->wait_all;
$c->wait_equal;
everywhere(want(2, 'passing', 101 .. $N + 100), 'the same', $c->servers);

# ---- each once: no service was written again behind what is there
my %index = map { $_->{ServiceID} => $_->{ModifyIndex} } map { @{$left[0]->get_json("/v1/catalog/service/$_")} } qw(s0101 s0800 s1600);
$node->reload;
ok $node->wait_for(sub { ($node->http('PUT', '/v1/agent/check/warn/service:s0101?note=x'))[0] == 200 }), 'a check changes';
ok $left[0]->wait_for(sub { own($left[0]) =~ /service:s0101=warning/ }), 'in the catalog as well';
is_deeply { map { $_->{ServiceID} => $_->{ModifyIndex} } map { @{$left[0]->get_json("/v1/catalog/service/$_")} } qw(s0101 s0800 s1600) }, \%index, 'services that stand are not written again';
unlike $_->log_text . $_->err_text, qr/AddressSanitizer|runtime error|LeakSanitizer/, "nothing for the sanitizers at $_->{name}" for $c->nodes;
done_testing;
