#!/usr/bin/perl
# Wrong tokens, thousands of them, at a client node: they take nothing from those that are known, be servers there or not.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Frame;
use IO::Select;
use IO::Socket::IP;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(sleep time);

my $ROOT = '00000000-aaaa-4000-8000-000000000001';
my ($true, $false) = (JSON::PP::true, JSON::PP::false);
my $net = '127.' . (64 + $$ % 64) . '.' . int rand 256;
my $probe = IO::Socket::IP->new(Listen => 1, LocalHost => "$net.1", LocalPort => 0) or die "listen: $!";
my $port = $probe->sockport + 0;
close $probe;

sub slice
{
	my ($i, $acl, %o) = @_;

	return { node_name => "n$i", datacenter => 'dc1', node_id => sprintf('11111111-2222-3333-4444-%012d', $i), bind_addr => "$net.$i",
		advertise_addr => "$net.$i", ports => { server => $port }, server => $false, acl => { enabled => $true, default_policy => 'deny',
		down_policy => 'extend-cache', token_ttl => 600000, policy_ttl => 600000, role_ttl => 0, %$acl }, %o };
}
my $server = Frame::Daemon->new('raftd', slice(1, { tokens => { initial_management => $ROOT } }, server => $true, dev_mode => $true));
my $member = Frame::Gossip::server('n1', "$net.1", $port, tags => { id => '11111111-2222-3333-4444-000000000001' });
my $sg = Frame::Gossip->new($server->{dir}, $member);
my $client = Frame::Daemon->new('raftd', slice(2, {}));
my $cg = Frame::Gossip->new($client->{dir}, Frame::Gossip::client('n2', "$net.2"), $member);
my %question = (Requests => [{ Resource => 'key', Segment => 'a', Access => 'write' }]);

sub wait_for { my ($code) = @_; for (1 .. 1500) { return 1 if $code->(); sleep 0.02 } return 0 }
sub payload { my ($d, $token, $op, $request) = @_; my ($meta, $p) = $d->ask($op, $request, { Token => $token }); return defined $meta ? $p : "$p->{Code} $p->{Text}" }
sub may { my ($token) = @_; my $p = payload($client, $token, 'acl.authorize', \%question); return ref $p ? $p->{Allow}[0] : $p }

# So many at once; how often each answer came.
my $made = 0;
sub flood
{
	my ($n) = @_;
	my $c = Frame::Client->new("$client->{dir}/raftd.sock");
	my ($got, $bytes, %said) = (0, '');

	for my $id (1 .. $n) {
		my $body = Frame::pack_value({ Token => 'wrong-' . ++$made }) . Frame::pack_value(\%question);
		$bytes .= pack('NCCnN', length $body, 1, 0, $Frame::OP{'acl.authorize'}, $id) . $body;
	}
	while ($got < $n) {
		if (length $bytes) {
			my $w = syswrite $c->{sock}, $bytes, 65536 or die "write: $!";
			substr $bytes, 0, $w, '';
		}
		while ($got < $n && (!length $bytes || IO::Select->new($c->{sock})->can_read(0))) {
			my ($id, $meta, $p) = $c->reply or die 'no answer';
			$said{defined $meta ? "allowed $p->{Allow}[0]" : "$p->{Code} $p->{Text}"}++;
			$got++;
		}
	}
	return \%said;
}

ok(wait_for(sub { ref payload($server, $ROOT, 'catalog.nodes', {}) }), 'the server leads');
ok(wait_for(sub { may($ROOT) eq '1' }), 'the client node knows a token');
my $said = flood(6000);
is_deeply([grep { !/^(?:403 ACL not found|429 .*too many unfinished)/ } keys %$said], [], 'wrong ones are told so, or that there are too many') || diag explain $said;
ok($said->{'403 ACL not found'} >= 1000, 'most of them the former');
is($server->stop('KILL'), 9, 'the server has gone');
is(may($ROOT), '1', 'the token is still known');
$said = flood(6000);
is_deeply([grep { !/^(?:allowed 0|429 .*too many unfinished)/ } keys %$said], [], 'wrong ones get what nobody has') || diag explain $said;
is(may($ROOT), '1', 'and the token is still known');
is($client->stop, 0, 'the client node ends well');
done_testing;
