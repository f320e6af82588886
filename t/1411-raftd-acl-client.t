#!/usr/bin/perl
# Rights at client nodes: asked of a server, kept for a while, and what holds while no server answers (acl.down_policy).
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Frame;
use IO::Socket::IP;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(sleep time);

my $ROOT = '00000000-aaaa-4000-8000-000000000001';
my $RECOVERY = '00000000-aaaa-4000-8000-000000000002';
my ($true, $false) = (JSON::PP::true, JSON::PP::false);
my $net = '127.' . (64 + $$ % 64) . '.' . int rand 256;
my $probe = IO::Socket::IP->new(Listen => 1, LocalHost => "$net.1", LocalPort => 0) or die "listen: $!";
my $port = $probe->sockport + 0;
close $probe;

sub slice
{
	my ($i, $acl, %o) = @_;

	return { node_name => "n$i", datacenter => 'dc1', node_id => sprintf('11111111-2222-3333-4444-%012d', $i), bind_addr => "$net.$i",
		advertise_addr => "$net.$i", ports => { server => $port }, log_level => 'DEBUG', server => $false,
		performance => { rpc_hold_timeout => 7000 }, acl => { enabled => $true, default_policy => 'deny', token_ttl => 700, policy_ttl => 700,
		role_ttl => 0, %$acl }, %o };
}
my $server = Frame::Daemon->new('raftd', slice(1, { tokens => { initial_management => $ROOT } }, server => $true, dev_mode => $true));
my $member = Frame::Gossip::server('n1', "$net.1", $port, tags => { id => '11111111-2222-3333-4444-000000000001' });
my $sg = Frame::Gossip->new($server->{dir}, $member);
my (%c, %g);
my $i = 1;
for my $down (qw(extend-cache allow deny async-cache)) {
	$i++;
	$c{$down} = Frame::Daemon->new('raftd', slice($i, { down_policy => $down, tokens => { agent_recovery => $RECOVERY } }));
	$g{$down} = Frame::Gossip->new($c{$down}{dir}, Frame::Gossip::client("n$i", "$net.$i"), $member);
}

sub wait_for { my ($code) = @_; for (1 .. 1500) { return 1 if $code->(); sleep 0.02 } return 0 }
sub payload { my ($d, $token, $op, $request) = @_; my ($meta, $p) = $d->ask($op, $request, { Token => $token }); return defined $meta ? $p : "$p->{Code} $p->{Text}" }
sub root { my $p = payload($server, $ROOT, @_); die $p if !ref $p && $p =~ /^\d{3} /; return $p }
# Whether the token may read and write the key a at that node, as "10"; or the error.
sub may
{
	my ($d, $token) = @_;
	my $p = payload($d, $token, 'acl.authorize', { Requests => [map { { Resource => 'key', Segment => 'a', Access => $_ } } qw(read write)] });

	return ref $p ? join '', @{$p->{Allow}} : $p;
}
sub token
{
	my ($rules) = @_;
	my $p = root('acl.policy_set', { Name => 'p' . ++$i, Description => '', Rules => $rules });
	my $t = root('acl.token_set', { Verb => 'create', Token => { Policies => [{ ID => $p->{ID}, Name => '' }], Description => '' } });

	return ($t, $p);
}

ok(wait_for(sub { ref payload($server, $ROOT, 'catalog.nodes', {}) }), 'the server leads');
my ($t, $p) = token('key "a" { policy = "read" }');
my $s = $t->{SecretID};
my @all = map { $c{$_} } sort keys %c;

# ---- with servers
is_deeply([map { may($_, $s) } @all], [('10') x 4], 'client nodes ask a server what a token may do');
is_deeply([map { may($_, $ROOT) } @all], [('11') x 4], 'the management token may do everything');
is_deeply([map { may($_, '') } @all], [('00') x 4], 'nobody may do nothing');
is_deeply([map { may($_, 'nonsense') } @all], [('403 ACL not found') x 4], 'a token that is not known is refused');
is(payload($c{deny}, $RECOVERY, 'acl.authorize', { Requests => [{ Resource => 'agent', Segment => 'n4', Access => 'write' }] })->{Allow}[0], 1,
	"the agent's own token needs no server");
is(ref payload($c{deny}, $s, 'acl.resolve'), 'HASH', 'what is forwarded carries the token');
is(payload($c{deny}, 'nonsense', 'catalog.nodes', {}), '403 ACL not found', 'and is decided by the server');
like(payload($c{deny}, $s, 'kv.apply', { Op => 'set', DirEnt => { Key => 'a', Value => 'x' } }),
	qr/^403 Permission denied: token with AccessorID '\Q$t->{AccessorID}\E' lacks permission 'key:write' on "a"$/, 'writes too');
# A crowd is one question.
my ($crowd) = token('key "q" { policy = "read" }');
$c{deny}->start('acl.authorize', { Requests => [] }, { Token => $crowd->{SecretID} }) for 1 .. 50;
is(scalar(grep { defined } map { ($c{deny}->reply)[1] } 1 .. 50), 50, 'questions that come together are all answered');

# ---- changes come within the TTL
root('acl.policy_set', { %$p, Rules => 'key "a" { policy = "write" }' });
ok(wait_for(sub { may($c{deny}, $s) eq '11' }), 'other rights are known within the TTL');
my ($gone) = token('key "a" { policy = "read" }');
is(may($c{deny}, $gone->{SecretID}), '10', 'a token');
root('acl.token_delete', { IDs => [$gone->{AccessorID}] });
ok(wait_for(sub { may($c{deny}, $gone->{SecretID}) eq '403 ACL not found' }), 'that is deleted is refused within the TTL');

# ---- servers that do not answer
my ($late) = token('key "a" { policy = "write" }');
my $unseen = $late->{SecretID};
ok(wait_for(sub { !grep { may($_, $s) ne '11' } @all }), 'all know the token');
kill STOP => $server->{pid};
sleep 0.8;
my $began = time;
is(may($c{'async-cache'}, $s), '11', 'async-cache goes on with what it knows');
cmp_ok(time - $began, '<', 1, 'at once');
is(may($c{'extend-cache'}, $s), '11', 'extend-cache does when nobody answers');
is(may($c{allow}, $s), '11', 'allow allows');
is(may($c{deny}, $s), '00', 'deny denies');
is(may($c{'extend-cache'}, $unseen), '00', 'of a token that it never saw extend-cache says what the default policy says');
is(may($c{allow}, $unseen), '11', 'allow allows');
is(may($c{deny}, $unseen), '00', 'and deny denies');
$began = time;
is(may($c{$_}, $s), { 'extend-cache' => '11', allow => '11', deny => '00', 'async-cache' => '11' }->{$_}, "$_ again") for sort keys %c;
cmp_ok(time - $began, '<', 1.5, 'now without waiting');
is(payload($c{deny}, $RECOVERY, 'acl.authorize', { Requests => [{ Resource => 'agent', Segment => 'n4', Access => 'write' }] })->{Allow}[0], 1,
	"the agent's own token works all the same");
kill CONT => $server->{pid};
ok(wait_for(sub { !grep { may($_, $unseen) ne '11' } @all }), 'once a server answers, what it says holds everywhere');
ok(!(grep { $_->log =~ /\Q$s\E|\Q$unseen\E|\Q$ROOT\E|\Q$RECOVERY\E/ } $server, @all), 'no log has a secret');
done_testing;
