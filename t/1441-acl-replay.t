#!/usr/bin/perl
# A write that is refused is never carried out, whatever its stamp says of an earlier copy.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Frame;
use JSON::PP ();
use Test::More;

my $ROOT = '00000000-aaaa-4000-8000-000000000001';
my ($true, $false) = (JSON::PP::true, JSON::PP::false);
my $d = Frame::Daemon->new('raftd', { node_name => 'n1', node_id => '4b1f7f0c-0001-4d0e-8000-000000000001', datacenter => 'dc1', server => $true,
	dev_mode => $true, acl => { enabled => $true, default_policy => 'deny', tokens => { initial_management => $ROOT } } });

sub as { my ($token, $op, $request, %o) = @_; return $d->ask($op, $request, { Token => $token, %o }) }
sub root { my ($op, $request) = @_; my ($meta, $p) = as($ROOT, $op, $request); return defined $meta ? $p : die "$op: $p->{Code} $p->{Text}" }
sub said { my (@r) = @_; return defined $r[0] ? ref $r[1] && !JSON::PP::is_bool($r[1]) ? JSON::PP->new->canonical->encode($r[1]) : $r[1] : "$r[1]{Code} $r[1]{Text}" }
sub frame
{
	my ($id, $op, $request, $options) = @_;
	my $body = Frame::pack_value($options) . Frame::pack_value($request);

	return pack('NCCnN', length $body, 1, 0, $Frame::OP{$op}, $id) . $body;
}

for (1 .. 1500) {
	last if defined((as($ROOT, 'catalog.nodes', {}))[0]);
	select undef, undef, undef, 0.02;
}

# Who may write one key, and nothing else.
my $policy = root('acl.policy_set', { ID => '', Name => 'p', Description => '', Rules => 'key "mine" { policy = "write" }' })->{ID};
my $token = root('acl.token_set', { Verb => 'create', Token => { Description => '', Policies => [{ ID => $policy, Name => '' }] } })->{SecretID};
my %mine = (Op => 'set', DirEnt => { Key => 'mine', Value => 'v' });
my %stolen = (Op => 'set', DirEnt => { Key => 'stolen', Value => 'v' });
my $session = '11111111-2222-4333-8444-555555555555';

# ---- a stamp that was used tells of its own write again
is(said(as($token, 'kv.apply', \%mine, Origin => 'x' x 16, Seq => 1)), $true, 'a write that is allowed');
is(said(as($token, 'kv.apply', \%stolen, Origin => 'x' x 16, Seq => 1)), $true, 'its stamp again: the answer of then');
is(said(as($token, 'kv.apply', \%stolen, Origin => 'x' x 16, Seq => 2)) =~ /^403 Permission denied/, 1, 'another one: refused');
is_deeply(root('kv.get', { Key => 'stolen' }), [], 'nothing was written');

# ---- and when the state forgets the origin between the check and the log: it remembers 4096
my $bytes = join '', map { frame(1000 + $_, 'kv.apply', \%mine, { Token => $token, Origin => sprintf('o%015d', $_), Seq => 1 }) } 1 .. 4095;
my $c = Frame::Client->new("$d->{dir}/raftd.sock");
my $done = 0;
while (length $bytes || $done < 4095) {
	if (length $bytes) {
		my $n = syswrite $c->{sock}, $bytes, 65536 or die "write: $!";
		substr $bytes, 0, $n, '';
	}
	while ($done < 4095 && (!length $bytes || IO::Select->new($c->{sock})->can_read(0))) {
		my @r = $c->reply or die 'no answer';
		$done++;
	}
}
is($done, 4095, 'as many origins as are remembered');
my @two = (frame(7001, 'kv.apply', \%mine, { Token => $token, Origin => 'p' x 16, Seq => 1 }),
	frame(7002, 'kv.apply', \%stolen, { Token => $token, Origin => 'x' x 16, Seq => 1 }));
syswrite($c->{sock}, join '', @two) == length join('', @two) or die "write: $!";
my %got = map { my ($id, @r) = $c->reply; ($id => said(@r)) } 1, 2;
is($got{7001}, $true, 'one more, and the first is forgotten');
like($got{7002}, qr/^(?:403 Permission denied|500 .*The outcome of this write is no longer known)/, 'a refused write with its stamp is not carried out');
is_deeply(root('kv.get', { Key => 'stolen' }), [], 'nothing was written');

# ---- of what is completed before the log, too
for my $i (1 .. 2) {
	my @more = map { frame(8000 + $_, 'kv.apply', \%mine, { Token => $token, Origin => sprintf('q%d%014d', $i, $_), Seq => 1 }) } 1;
	my $from = sprintf 'o%015d', $i;

	push @more, frame(8100, 'acl.token_set', { Verb => 'create', Token => { Description => 'stolen' } }, { Token => $token, Origin => $from, Seq => 1 });
	syswrite($c->{sock}, join '', @more) == length join('', @more) or die "write: $!";
	my %r = map { my ($id, @r) = $c->reply or die 'the daemon has gone: ' . $d->log; ($id => said(@r)) } 1, 2;
	like($r{8100}, qr/^(?:403 Permission denied|500 .*no longer known)/, 'no token is made');
}
is((grep { $_->{Description} eq 'stolen' } @{root('acl.token_list', {})}), 0, 'and there is none');

# ---- nobody at all writes nothing at all to the log
my ($before) = as($ROOT, 'kv.get', { Key => 'mine' });
my $index = sub { my (undef, $info) = $d->ask('daemon.info'); return $info->{raft}{last_log_index} };
my $at = $index->();
is(said(as('', 'session.destroy', { ID => $session })), $true, 'to end a session that is none takes no right');
is($index->(), $at, 'and is no entry');
is($d->stop, 0, 'the server ends well');
done_testing;
