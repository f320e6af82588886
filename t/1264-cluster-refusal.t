#!/usr/bin/perl
# A leader that slept while another took over, and does not know it yet, refuses nothing for what it has not heard of.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Cluster;
use Frame;
use JSON::PP ();
use Test::More;

my $c = Cluster->new(servers => 3);

my $clients = 6;

# A whole frame: less than 16 MiB, so that its first byte is the same for all.
sub request
{
	my ($op, $record) = @_;
	my $body = "\x80" . Frame::pack_value($record);

	return pack('NCCnN', length $body, 1, 0, $Frame::OP{$op}, 99) . $body;
}

for my $round (1 .. 2) {
	my $l = $c->leader;
	my @others = grep { $_ != $l } $c->nodes;
	my @clients = map { Frame::Client->new("$l->{data_dir}/run/raftd.sock") } 1 .. $clients;
	my $pid = $c->pid($l, 'raftd');

	is scalar(grep { defined(($_->ask('kv.get', { Key => 'none' }))[0]) } @clients), $clients, 'clients of the leader';
	kill 'STOP', $pid;
	# A first byte now: so it looks at these before it looks at what the others said since.
	my $first = substr request('session.renew', {}), 0, 1;
	syswrite $_->{sock}, $first or die "write: $!" for @clients;
	my $next = $c->next_leader($l, @others);
	ok $next, 'another leads while it sleeps';
	my ($status, undef, $body) = $next->http('PUT', '/v1/session/create', '{"TTL":"600s","NodeChecks":[]}');
	is $status, 200, 'and creates a session';
	my $id = JSON::PP::decode_json($body)->{ID};
	for my $i (0 .. $#clients) {
		my %k = (Key => "lock$round-$i", Value => 'x', Session => $id);
		my $bytes = $i % 2 ? request('session.renew', { ID => $id }) : request('kv.apply', { Op => 'lock', DirEnt => \%k });

		syswrite $clients[$i]{sock}, substr $bytes, 1 or die "write: $!";
	}
	kill 'CONT', $pid;
	my @wrong;
	for my $i (0 .. $#clients) {
		my (undef, $meta, $reply) = $clients[$i]->reply(20);

		push @wrong, "client $i: " . JSON::PP->new->allow_nonref->canonical->encode($reply)
			if !defined $meta || !($i % 2 ? @$reply == 1 : $reply);
	}
	is join("\n", @wrong), '', 'the session is known, whoever is asked';
	is $c->pid($l, 'raftd'), $pid, 'the server lives on';
	$c->wait_all;

	my ($meta, $reply) = $clients[0]->ask('kv.apply',
		{ Op => 'lock', DirEnt => { Key => 'lock', Session => '00000000-0000-4000-8000-000000000000' } });
	like $reply->{Text}, qr/invalid session/, 'one that nobody knows is refused';
	($meta, $reply) = $clients[0]->ask('session.renew', { ID => '00000000-0000-4000-8000-000000000000' });
	is_deeply $reply, [], 'and not renewed';
}
done_testing;
