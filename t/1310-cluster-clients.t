#!/usr/bin/perl
# Servers and client nodes that nobody has configured to know each other: `consulctl join` makes a cluster of them,
# clients ask servers for everything, and another one when theirs has gone.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Cluster;
use Test::More;
use Time::HiRes qw(sleep time);

my $c = Cluster->new(servers => 3, clients => 3, join => 0, wait => 0);
my ($s1, $s2, $s3) = $c->servers;
my ($c1, $c2, $c3) = $c->clients;

sub lines { my (undef, $out) = @_; return { map { /^(\S+)\s+\S+:\d+\s+(\S+)\s+(\S+)/ ? ($1 => "$2 $3") : () } split /\n/, $out } }

# ---- alone
$_->wait_for(sub { ($_->http('GET', '/v1/agent/members'))[0] == 200 }) for $c->nodes;
is_deeply $c->members($c1), { $c1->{name} => 'alive' }, 'a client alone sees itself';
my ($status, undef, $body) = $c1->http('PUT', '/v1/kv/a', 'x');
is "$status $body", '500 No known Consul servers', 'and can do nothing';
is +($s1->http('GET', '/v1/status/leader'))[2], '""', 'a server alone does not begin';

# ---- joined, one by one, each through another one that is a member already
like $c->join($s2, $s1), qr/Successfully joined cluster by contacting 1 nodes/, 'a server joins another one';
$c->join($c1, $s2);
$c->join($c2, $c1);
like +($s1->http('GET', '/v1/status/leader'))[2], qr/^""/, 'two servers of three do not begin';
$c->join($c3, $s1);
$c->join($s3, $c2);
ok $c->wait_all, 'with the third one they do, and all nodes know the leader';
is $c->wait_members($c->all_alive), '', 'all see all members';
for my $n ($c->nodes) {
	my $l = lines($n->ctl('members'));

	is_deeply $l, { (map { $_->{name} => 'alive server' } $c->servers), (map { $_->{name} => 'alive client' } $c->clients) },
	    "consulctl members at $n->{name}";
}
is $c->wait_catalog($c1, map { $_->{name} => 'passing' } $c->nodes), '', 'all are nodes of the catalog';
is_deeply [sort map { $_->{Node} } @{$c1->get_json('/v1/catalog/service/consul')}], [sort map { $_->{name} } $c->servers],
    'the servers have the service consul';

# ---- a client is as good as a server to ask
is +($c1->http('PUT', '/v1/kv/k', 'v1'))[0], 200, 'a write';
is +($c2->http('GET', '/v1/kv/k?raw'))[2], 'v1', 'is read at another client';
is +($s3->http('GET', '/v1/kv/k?raw'))[2], 'v1', 'and at a server';
is +($c3->http('GET', '/v1/kv/k?raw&consistent'))[2], 'v1', 'consistently';
($status, undef, $body) = $c1->http('PUT', '/v1/session/create', '{"Name":"s"}');
is $status, 200, 'a session';
my $session = JSON::PP::decode_json($body)->{ID};
is $s1->get_json("/v1/session/info/$session")->[0]{Node}, $c1->{name}, 'of this node';
is +($c2->http('PUT', "/v1/kv/lock?acquire=$session", 'mine'))[2], 'true', 'which locks, from anywhere';
my ($rc, $out, $err) = $c1->ctl(qw(operator raft list-peers));
is scalar(() = $out =~ /voter|leader|follower/g) > 2, 1, 'the servers, asked at a client' or diag $out, $err;
is scalar(keys %{{ $c1->pids }}), 5, 'all daemons run there';
ok !-e "$c1->{data_dir}/raftd", 'and no state is kept there';

# ---- a service of one node is found on the others
($rc, $out, $err) = $c2->ctl('services', 'register', '-name=web', '-port=8080', '-tag=blue');
is $rc, 0, "a service at a client $err";
for my $n ($c1, $s2) {
	ok $n->wait_for(sub { @{$n->get_json('/v1/health/service/web?passing')} == 1 }), "is found at $n->{name}";
	is $n->get_json('/v1/health/service/web')->[0]{Node}{Node}, $c2->{name}, 'on its node';
	ok $n->wait_for(sub { ($n->dig('web.service.consul', 'A', '+short') // '') =~ /^\Q$c2->{ip}\E$/m }), 'and by DNS';
}

# ---- the server in use goes
sub in_use { my ($n) = @_; my @l = $n->log_text =~ /using server: address=([\d.]+):/g; return (grep { $_->{ip} eq ($l[-1] // '') } $c->servers)[0] }
for my $how ('killed', 'stopped', 'paused') {
	$c->wait_all;
	my $used = in_use($c1);
	ok $used, 'it uses a server' or next;
	my %pids = $used->pids;
	my ($bad, $done, $slowest) = (0, 0, 0);
	if ($how eq 'killed') {
		$c->crash($used);
	} elsif ($how eq 'stopped') {
		$used->stop;
	} else {
		CORE::kill('STOP', $used->{pid}, values %pids);
	}
	my $end = time + 3;
	while (time < $end || !$done) {
		my $from = time;
		my ($status, undef, $body) = $c1->http('PUT', '/v1/kv/count', "n$done");
		$status == 200 ? $done++ : $bad++;
		diag "$how: $status $body" if $status != 200;
		$slowest = time - $from if time - $from > $slowest;
		last if $bad > 5;
	}
	note sprintf '%s: %d writes, the slowest took %.1f s', $how, $done, $slowest;
	is $bad, 0, "$how: writes at the client do not notice";
	my $now = in_use($c1);
	isnt $now->{name}, $used->{name}, 'another server is used';
	CORE::kill('CONT', $used->{pid}, values %pids) if $how eq 'paused';
	$used->start if $how ne 'paused';
	is $c->wait_members($c->all_alive), '', 'it is back' or diag $c->logs;
}

# ---- a new server is used in time; one that leaves is not any more
$c->wait_all;
my $new = $c->add(start => 0);
$new->{config}{retry_join} = [$c1->{ip}];
$new->write_config;
$new->start;
is $c->wait_members($c->all_alive), '', 'a fourth server joins, through a client';
ok $new->wait_for(sub { grep { $_ == $new } eval { $c->voters } }, 60), 'and gets a vote';
is +($c1->http('GET', '/v1/kv/k?raw'))[2], 'v1', 'reads go on';
my $used = in_use($c1);
is +($used->http('PUT', '/v1/agent/leave'))[0], 200, 'the server in use leaves';
is +($c1->http('PUT', '/v1/kv/after', 'x'))[0], 200, 'a write goes on';
isnt in_use($c1)->{name}, $used->{name}, 'elsewhere';
is $used->wait_exit, 0, 'it ends';
is $c->wait_members({ %{$c->all_alive}, $used->{name} => 'left' }), '', 'all see it as left';
is $c->wait_catalog($c1, $used->{name} => undef), '', 'and it is no node any more';
is scalar(grep { ($_->log_text . $_->err_text) =~ /AddressSanitizer|runtime error/ } $c->nodes), 0, 'nothing broke';
done_testing;
