#!/usr/bin/perl
# What becomes of members in the catalog: they join, die, come back, leave, are made to leave, are forgotten.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Cluster;
use Test::More;
use Time::HiRes qw(sleep time);

my $c = Cluster->new(servers => 3, clients => 2, config => { reconnect_timeout => '1s', leave_on_terminate => JSON::PP::true });
my ($c1, $c2) = $c->clients;
my $s = $c->node(1);

sub json { my ($n, $path, $body) = @_; my ($status, undef, $r) = $n->http('PUT', $path, $body); return $status == 200 ? JSON::PP->new->allow_nonref->decode($r) : die "$path: $status $r" }
sub session { my ($n, $node) = @_; return json($n, '/v1/session/create', JSON::PP::encode_json({ Node => $node->{name}, LockDelay => '0s' }))->{ID} }
sub has_session { my ($id) = @_; return scalar @{$s->get_json("/v1/session/info/$id")} }
sub service { my ($n, $name) = @_; my ($rc, $out, $err) = $n->ctl('services', 'register', "-name=$name", '-port=80'); return $rc == 0 && $s->wait_for(sub { instances($name) == 1 }) }
sub instances { my ($name) = @_; return scalar @{$s->get_json("/v1/catalog/service/$name")} }

is $c->wait_members($c->all_alive), '', 'all see all';
is $c->wait_catalog($s, map { $_->{name} => 'passing' } $c->nodes), '', 'all are nodes, and well';
my $node = $s->get_json("/v1/catalog/node/$c1->{name}");
is $node->{Node}{Address}, $c1->{ip}, 'with their addresses';
is $node->{Node}{ID}, $c1->get_json('/v1/agent/self')->{Config}{NodeID}, 'and IDs';

# ---- the machine of a client dies, and comes back
{
	ok service($c1, 'web'), 'a service of a client';
	my $session = session($s, $c1);
	ok has_session($session), 'and a session';
	$c->crash($c1);
	my $from = time;
	is $c->wait_catalog($s, $c1->{name} => 'critical'), '', 'killed, it turns critical';
	note sprintf 'after %.1f s', time - $from;
	is instances('web'), 1, 'its services stay';
	is_deeply $s->get_json('/v1/health/service/web?passing'), [], 'but are not healthy';
	ok $s->wait_for(sub { !has_session($session) }), 'its sessions end';
	$c1->start;
	is $c->wait_catalog($s, $c1->{name} => 'passing'), '', 'started again it is well, by itself';
	ok $s->wait_for(sub { @{$s->get_json('/v1/health/service/web?passing')} == 1 }), 'with its service';
	is $c->wait_members($c->all_alive), '', 'all see it';
}

# ---- gossipd alone dies, on a client and on the leader: nobody notices
{
	my $session = session($s, $c2);
	ok service($c2, 'db'), 'a service of the other client';
	for my $n ($c2, $c->leader) {
		my $old = $c->pid($n, 'gossipd');
		CORE::kill('KILL', $old);
		ok $n->wait_for(sub { ($c->pid($n, 'gossipd') // $old) != $old }), "gossipd of $n->{name} is started again";
		is $c->wait_members($c->all_alive), '', 'and finds the others again';
		is $c->wait_catalog($s, map { $_->{name} => 'passing' } $c->nodes), '', 'all nodes are well';
	}
	ok has_session($session), 'a session lives on';
	is instances('db'), 1, 'and services';
}

# Changes of a check at a node until that has ended, whatever becomes of them.
sub flap
{
	my ($n) = @_;
	my $pid = fork // die "fork: $!";

	return $pid if $pid;
	for (my $i = 0; $i < 2000; $i++) {
		my ($status) = eval { $n->http('PUT', '/v1/agent/check/' . ($i % 2 ? 'pass' : 'fail') . '/ttl') };
		last if ($status // 599) == 599;
		sleep 0.02;
	}
	POSIX::_exit(0);
}
# A node that leaves while it has much to tell: it is gone from the catalog before it ends, and stays so.
sub leaves_flapping
{
	my ($n, $at) = @_;
	my (%seen, $was);

	# One that has just been started may be known before its HTTP is.
	ok $n->wait_for(sub { ($n->http('PUT', '/v1/agent/check/register', { Name => 'ttl', TTL => '60s' }))[0] == 200 }), "a check of $n->{name}";
	my $pid = flap($n);
	my $leave = fork // die "fork: $!";
	if ($leave == 0) {
		my ($status) = $n->http('PUT', '/v1/agent/leave');
		POSIX::_exit($status == 200 ? 0 : 1);
	}
	is $c->wait_catalog($at, $n->{name} => undef), '', 'it leaves, and is no node any more';
	do {
		$seen{$_->{Node}} = 1 for @{$at->get_json('/v1/catalog/nodes')};
		$was = waitpid $leave, POSIX::WNOHANG();
		sleep 0.02;
	} while $was == 0;
	is $?, 0, 'the leave is answered';
	is $n->wait_exit, 0, 'it ends';
	waitpid $pid, 0;
	ok !$seen{$n->{name}}, 'nothing that it said in the end has brought it back';
	unlike $n->log_text, qr/\[ERROR\] agent: failed to sync changes: error="this node is leaving/, 'which is no error';
	is +() = $n->log_text =~ /agent: Not syncing any more/g, 1, 'and said once';
}

# ---- a client leaves, with everything of it
{
	my $session = session($s, $c2);
	is +($c2->http('PUT', '/v1/agent/leave'))[0], 200, 'a client leaves';
	is $c->wait_catalog($s, $c2->{name} => undef), '', 'it is no node any more';
	is instances('db'), 0, 'nor are its services';
	is_deeply $s->get_json("/v1/health/node/$c2->{name}"), [], 'and checks';
	ok $s->wait_for(sub { !has_session($session) }), 'and its sessions';
	is $c2->wait_exit, 0, 'it ends';
	$c2->start;
	is $c->wait_catalog($s, $c2->{name} => 'passing'), '', 'it comes again';
	ok $s->wait_for(sub { instances('db') == 1 }), 'with its service';
}

leaves_flapping($c2, $s);
$c2->start;
is $c->wait_catalog($s, $c2->{name} => 'passing'), '', 'it is back once more';

# ---- one that died is made to leave
{
	$c->crash($c2);
	is $c->wait_catalog($s, $c2->{name} => 'critical'), '', 'a client dies';
	my ($rc, $out, $err) = $s->ctl('force-leave', $c2->{name});
	is "$rc $err", '0 ', 'force-leave';
	is $c->wait_catalog($s, $c2->{name} => undef), '', 'it is no node any more';
	is instances('db'), 0, 'nor are its services';
	$c2->start;
	is $c->wait_catalog($s, $c2->{name} => 'passing'), '', 'it is a member again when it comes back';
}

# ---- one that died is forgotten; what happens while nobody leads is seen by the next leader
{
	my @f = $c->followers;
	my $l = $c->leader;
	$c->crash(@f);
	ok $l->wait_for(sub { ($l->http('GET', '/v1/status/leader'))[2] =~ /^""/ }), 'nobody leads';
	$c->crash($c2);
	my $from = time;
	ok $l->wait_for(sub { ($c->members($l)->{$c2->{name}} // 'gone') =~ /failed|gone/ }), 'a client dies then';
	$_->start for @f;
	$c->wait_all($c->running_servers);
	# Or forgotten already: the pool keeps it for a second.
	ok $l->wait_for(sub {
		my $checks = eval { $l->get_json("/v1/health/node/$c2->{name}") } or return 0;
		return !grep { $_->{CheckID} eq 'serfHealth' && $_->{Status} ne 'critical' } @$checks;
	}, 60), 'the next leader finds it dead';
	is $c->wait_catalog($l, $c2->{name} => undef), '', 'it is forgotten after the reconnect time-out';
	note sprintf 'after %.1f s', time - $from;
	ok !$c->members($l)->{$c2->{name}}, 'by the pool, too';
	is $c->wait_catalog($l, map { $_->{name} => 'passing' } $c->running), '', 'the others are well';
	$c2->start;
	is $c->wait_catalog($l, $c2->{name} => 'passing'), '', 'it may come back after that, too';
}

# ---- a server leaves in the middle of its work
{
	my ($n) = $c->followers;

	leaves_flapping($n, $c->leader);
	$n->start;
	is $c->wait_catalog($c->leader, $n->{name} => 'passing'), '', 'it comes back';
	ok $n->wait_for(sub { @{[eval { $c->voters }]} == 3 }, 60), 'and gets its vote back';
	$c->wait_all;
}

# ---- a server leaves; the leader leaves: the next one writes it down
for my $who ('a follower', 'the leader') {
	my ($n) = $who eq 'the leader' ? $c->leader : $c->followers;
	my ($rest) = grep { $_ != $n } $c->running_servers;

	is +($n->http('PUT', '/v1/agent/leave'))[0], 200, "$who leaves";
	is $n->wait_exit, 0, 'and ends';
	is $c->wait_catalog($rest, $n->{name} => undef), '', 'it is no node any more';
	ok $rest->wait_for(sub { my $r = eval { $rest->get_json('/v1/operator/raft/configuration') } or return 0; @{$r->{Servers}} == 2 }), 'nor a server';
	$n->start;
	is $c->wait_catalog($rest, $n->{name} => 'passing'), '', 'it comes back';
	ok $rest->wait_for(sub { @{[eval { $c->voters }]} == 3 }, 60), 'and gets its vote back';
	$c->wait_all;
}
is scalar(grep { ($_->log_text . $_->err_text) =~ /AddressSanitizer|runtime error/ } $c->nodes), 0, 'nothing broke';
done_testing;
