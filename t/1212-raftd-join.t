#!/usr/bin/perl
# What a server tells others that want to join or to begin with it, and whom it does not take in.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Frame;
use IO::Socket::IP;
use JSON::PP ();
use Test::More;

my ($yes, $no) = (JSON::PP::true, JSON::PP::false);
my $ip = sprintf '127.%d.%d.%d', 64 + ($$ >> 16 & 63), $$ >> 8 & 255, 1 + ($$ & 127);
my $probe = IO::Socket::IP->new(Listen => 1, LocalHost => $ip, LocalPort => 0);
my $port = $probe->sockport + 0;
close $probe;
my %slice = (node_name => 'n1', datacenter => 'dc1', server => $yes, node_id => '11111111-2222-3333-4444-555555555555', bind_addr => $ip,
	advertise_addr => $ip, ports => { server => $port }, log_level => 'DEBUG', performance => { rpc_hold_timeout => 400 });

sub hello
{
	my ($id, %o) = @_;
	my $c = Frame::Tcp->new($ip, $port);
	my ($meta, $r) = $c->ask('peer.hello', { Protocol => 3, Purpose => 'join', Datacenter => 'dc1', ID => $id, NodeID => '', Node => 'x',
		Address => "$ip:9", Cluster => '', Version => '', %o });
	return ($c, $r, defined $meta);
}

# A server that wants to join: (answer, error).
sub join_as
{
	my (%who) = @_;
	my %info = (ID => '00000000000000a1', NodeID => '', Node => 'x', Address => "$ip:9", Voter => $no, Version => '', %who);
	my ($c) = hello('00000000000000a1');
	my ($meta, $r) = $c->ask('peer.join', \%info);

	return defined $meta ? ($r, '') : (undef, $r->{Text});
}

my %me;
sub proposal
{
	my (%o) = @_;
	my @servers = map { { ID => sprintf('%016x', 0xb0 + $_), NodeID => "22222222-0000-0000-0000-00000000000$_", Node => "p$_",
		Address => "$ip:$_", Voter => $yes, Version => '' } } 1 .. 2;

	return { Expect => 3, Config => { Cluster => '00000000000000c1', Servers => [@servers, { %me, Voter => $yes }] }, %o };
}

sub propose
{
	my ($p) = @_;
	my ($c) = hello('00000000000000b1');
	my ($meta, $r) = $c->ask('peer.bootstrap', $p);

	return defined $meta ? ($r ? 'agreed' : 'false') : $r->{Text};
}

# ---- one that waits for two others

my $d = Frame::Daemon->new('raftd', { %slice, bootstrap_expect => 3, data_dir => '', dev_mode => $no });
my ($r, $err) = join_as();
is $r->{Status}, 'not bootstrapped', 'a server that waits says so';
is scalar(@{$r->{Servers}}), 1, 'and who it is';
%me = %{$r->{Servers}[0]};
is "$me{Address} $me{NodeID}", "$ip:$port 11111111-2222-3333-4444-555555555555", 'with its address and node ID';
ok $me{Voter}, 'and that it wants to be asked';
is $r->{Cluster} // '', '', 'it is of no cluster';

for (['an id', ID => 'xyz'], ['id 0', ID => '0000000000000000'], ['an address', Address => 'somewhere'], ['port 0', Address => "$ip:0"],
    ['no address', Address => ''], ['a name', Node => "a\x01"], ['a long name', Node => 'x' x 300]) {
	my ($what, %bad) = @$_;
	my ($answer, $why) = join_as(%bad);

	ok !defined $answer && $why =~ /server/, "a malformed question is refused: $what" or diag explain $answer, $why;
}
# More than it remembers.
join_as(ID => sprintf('%016x', 0x1000 + $_), Address => "$ip:" . (10000 + $_)) for 1 .. 300;
($r) = join_as();
is $r->{Status}, 'not bootstrapped', 'many questions do it no harm';

my $two = proposal();
my %stranger = %{$two->{Config}{Servers}[0]};
my @bad = (
	[qr/another bootstrap_expect/, proposal(Expect => 5)],
	[qr/another bootstrap_expect/, proposal(Expect => 0)],
	[qr/not 16 hexadecimal digits/, proposal(Config => { %{$two->{Config}}, Cluster => 'x' })],
	[qr/no voter/, proposal(Config => { %{$two->{Config}}, Servers => [] })],
	[qr/not as many servers/, proposal(Config => { %{$two->{Config}}, Servers => [@{$two->{Config}{Servers}}[1, 2]] })],
	[qr/twice/, proposal(Config => { %{$two->{Config}}, Servers => [@{$two->{Config}{Servers}}[1, 1, 2]] })],
	[qr/without a vote/, proposal(Config => { %{$two->{Config}}, Servers => [{ %stranger, Voter => $no }, @{$two->{Config}{Servers}}[1, 2]] })],
	[qr/does not name this server/, proposal(Config => { %{$two->{Config}}, Servers => [@{$two->{Config}{Servers}}[0, 1],
	    { %stranger, ID => '00000000000000bb', NodeID => '' }] })],
	[qr/does not name this server/, proposal(Config => { %{$two->{Config}}, Servers => [@{$two->{Config}{Servers}}[0, 1],
	    { %me, Address => "$ip:1", Voter => $yes }] })],
);
like propose($_->[1]), $_->[0], "not agreed: $_->[0]" for @bad;
is propose($two), 'agreed', 'a fair proposal';
is propose($two), 'agreed', 'and the same again';
like propose(proposal(Config => { %{$two->{Config}}, Cluster => '00000000000000c2' })), qr/agreed to another proposal a moment ago/, 'but no other';
(undef, $r) = $d->ask('status.leader');
is $r, '', 'that alone makes no cluster';
is $d->stop, 0, 'it ends';

# ---- one that leads

$d = Frame::Daemon->new('raftd', { %slice, bootstrap_expect => 1, data_dir => '', dev_mode => $yes });
ok $d->wait_log(qr/cluster leadership acquired/), 'one that leads';
sub configuration { return @{($d->ask('raft.configuration'))[1]{Servers}} }
like propose($two), qr/belongs to a cluster or has a log/, 'begins nothing';
($r, $err) = join_as();
is $r->{Status}, 'joining', 'a new server is taken in';
like $r->{Cluster}, qr/^[0-9a-f]{16}$/, 'and told the cluster';
is $r->{Leader}, "$ip:$port", 'and the leader';
for (1 .. 100) {
	($r) = join_as();
	last if $r->{Status} eq 'member';
	select undef, undef, undef, 0.05;
}
is $r->{Status}, 'member', 'then it is one';
is join(' ', map { $_->{Voter} ? 'voter' : 'non-voter' } configuration()), 'voter non-voter', 'without a vote';
($r, $err) = join_as(ID => '00000000000000a9', NodeID => '11111111-2222-3333-4444-555555555555', Address => "$ip:99");
like $err, qr/belongs to server .* which is alive/, 'nobody takes the place of the leader by its node ID';
($r, $err) = join_as(ID => '00000000000000a9', Address => "$ip:$port");
like $err, qr/belongs to server .* which is alive/, 'nor by its address';
my (undef, undef, $own) = hello('00000000000000a9', Cluster => '00000000000000c1');
ok !$own, 'one of another cluster is not even greeted';
# Until there is no room for more.
my $full;
for my $i (1 .. 2000) {
	(undef, $full) = join_as(ID => sprintf('%016x', 0x2000 + $i % 40), Address => "$ip:" . (20000 + $i % 40));
	last if $full;
	select undef, undef, undef, 0.005;
}
like $full, qr/it is full/, 'there is a limit';
is scalar(configuration()), 32, 'of 32 servers';
my (undef, $w) = $d->ask('kv.apply', { Op => 'set', DirEnt => { Key => 'a', Value => 'x' } });
ok $w, 'the one that votes goes on';
my ($meta, $e) = $d->ask('raft.remove_peer', { Address => "$ip:$port" });
like $e->{Text}, qr/would leave .*: nothing was changed/, 'the last voter cannot be removed';
($meta, $e) = $d->ask('raft.remove_peer', { Address => "$ip:9" });
ok defined $meta, 'a non-voter can';
($meta, $e) = $d->ask('raft.remove_peer', { ID => 'nobody' });
is $e->{Text}, 'id "nobody" was not found in the Raft configuration', 'an unknown id';
($meta, $e) = $d->ask('raft.remove_peer', {});
is $e->{Code}, 400, 'no id at all';
($meta, $e) = $d->ask('raft.transfer', {});
like $e->{Text}, qr/leadership transfer failed/, 'there is nobody to hand over to';
is $d->stop, 0, 'it ends';
done_testing;
