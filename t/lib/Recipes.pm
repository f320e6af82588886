# Recipes.pm - the lock and the semaphore of Consul's Go client, as the
# requests that it makes: values, flags, waits and the order of CAS.
#
#	my $l = Recipes::Lock->new($url, 'service/leader', 'value');
#	my $index = $l->lock;		# LockIndex
#	$l->held or ...;
#	$l->unlock;
#
# Everything dies with a sentence when it cannot go on. One process holds one.
package Recipes;

use strict;
use warnings;
use HTTP::Tiny;
use JSON::PP ();
use MIME::Base64 qw(decode_base64);
use Time::HiRes qw(sleep time);

our $LOCK_FLAGS = '3304740253564472344';	# 0x2ddccbc058a50c18
our $SEMAPHORE_FLAGS = '16210313421097356768';	# 0xe0f69a2baa414de0
our $RETRY = 60;				# s during which errors of the server are borne

sub new
{
	my ($class, $url, $key, $value, %o) = @_;

	return bless { url => $url, key => $key, value => $value // '', ttl => '15s', wait => '15000ms', %o,
		ua => HTTP::Tiny->new(timeout => 60, keep_alive => 1) }, $class;
}

# One request. Servers that cannot answer now (5xx, no connection) are asked again, but never a write whose outcome is unknown and matters.
sub ask
{
	my ($self, $method, $path, $body) = @_;
	my $until = time + $RETRY;
	my $r;

	while (1) {
		$r = $self->{ua}->request($method, "$self->{url}$path", defined $body ? { content => $body } : {});
		return $r if $r->{status} < 500;
		die "$method $path: $r->{status} $r->{content}\n" if time > $until;
		sleep 0.1;
	}
}

sub create_session
{
	my ($self, $name) = @_;
	my $r = $self->ask('PUT', '/v1/session/create', JSON::PP->new->canonical->encode({ Name => $name, TTL => $self->{ttl} }));

	die "session: $r->{status} $r->{content}\n" if $r->{status} != 200;
	$self->{renewed} = time;
	return $self->{session} = JSON::PP::decode_json($r->{content})->{ID};
}

# The Go client renews in the background, each half TTL; here whoever waits does.
sub renew
{
	my ($self) = @_;

	return if time - $self->{renewed} < 5;
	my $r = $self->ask('PUT', "/v1/session/renew/$self->{session}");
	die "the session has gone\n" if $r->{status} == 404;
	$self->{renewed} = time;
}

sub destroy_session
{
	my ($self) = @_;

	$self->ask('PUT', "/v1/session/destroy/$self->{session}") if $self->{session};
	delete $self->{session};
}

# [entries, index] of a read.
sub get
{
	my ($self, $path, %q) = @_;
	my $query = join '&', map { defined $q{$_} ? "$_=$q{$_}" : $_ } sort keys %q;
	my $r = $self->ask('GET', "/v1/kv/$path" . ($query ne '' ? "?$query" : ''));

	die "GET $path: $r->{status} $r->{content}\n" if $r->{status} != 200 && $r->{status} != 404;
	return ($r->{status} == 404 ? [] : JSON::PP::decode_json($r->{content}), $r->{headers}{'x-consul-index'});
}

sub put
{
	my ($self, $key, $value, %q) = @_;
	my $r = $self->ask('PUT', "/v1/kv/$key?" . join('&', map { "$_=$q{$_}" } sort keys %q), $value);

	die "PUT $key: $r->{status} $r->{content}\n" if $r->{status} != 200;
	return $r->{content} eq 'true';
}

package Recipes::Lock;

our @ISA = ('Recipes');

# Until it is held; its LockIndex.
sub lock
{
	my ($self) = @_;
	my %q = (wait => $self->{wait});

	$self->create_session('Consul API Lock') if !$self->{session};
	while (1) {
		my ($v, $index) = $self->get($self->{key}, %q);
		my $e = $v->[0];

		$self->renew;
		die "the key is no lock\n" if $e && $e->{Flags} ne $LOCK_FLAGS;
		return $e->{LockIndex} if $e && ($e->{Session} // '') eq $self->{session};
		if ($e && ($e->{Session} // '') ne '') {
			$q{index} = $index;
			next;
		}
		delete $q{index};
		next if $self->put($self->{key}, $self->{value}, acquire => $self->{session}, flags => $LOCK_FLAGS);
		# Refused: somebody was faster, or the key is under a lock delay.
		($v, $index) = $self->get($self->{key});
		if (@$v && ($v->[0]{Session} // '') ne '') {
			$q{index} = $index;
			next;
		}
		Time::HiRes::sleep(0.5);
	}
}

# As the monitor asks: with the leader's word.
sub held
{
	my ($self) = @_;
	my ($v) = $self->get($self->{key}, consistent => undef);

	return @$v && ($v->[0]{Session} // '') eq ($self->{session} // '-');
}

sub unlock
{
	my ($self) = @_;

	my $done = $self->put($self->{key}, $self->{value}, release => $self->{session}, flags => $LOCK_FLAGS);
	# A reply that was lost and asked for again says false; whose it is now tells.
	$done ||= !$self->held;
	$self->destroy_session;
	return $done;
}

package Recipes::Semaphore;

our @ISA = ('Recipes');

# new($url, $prefix, $value, limit => N)
sub _state
{
	my ($self, $entries) = @_;
	my ($lock) = grep { $_->{Key} eq "$self->{key}/.lock" } @$entries;
	my %live = map { $_->{Session} => 1 } grep { $_->{Key} ne "$self->{key}/.lock" && ($_->{Session} // '') ne '' } @$entries;
	my $s = { Limit => $self->{limit}, Holders => {} };

	if ($lock) {
		die "the key is no semaphore\n" if $lock->{Flags} ne $SEMAPHORE_FLAGS;
		$s = JSON::PP::decode_json(MIME::Base64::decode_base64($lock->{Value})) if defined $lock->{Value};
		die "limits differ\n" if $s->{Limit} != $self->{limit};
	}
	for (keys %{$s->{Holders}}) {
		delete $s->{Holders}{$_} if !$live{$_};
	}
	return ($s, $lock ? $lock->{ModifyIndex} : 0);
}

sub _store
{
	my ($self, $s, $index) = @_;
	my %holders = map { $_ => JSON::PP::true() } keys %{$s->{Holders}};

	return $self->put("$self->{key}/.lock", JSON::PP->new->canonical->encode({ Limit => $s->{Limit}, Holders => \%holders }),
		cas => $index, flags => $SEMAPHORE_FLAGS);
}

sub acquire
{
	my ($self) = @_;
	my %q = (recurse => undef, wait => $self->{wait});

	$self->create_session('Consul API Semaphore') if !$self->{session};
	$self->put("$self->{key}/$self->{session}", $self->{value}, acquire => $self->{session}, flags => $SEMAPHORE_FLAGS)
		or die "no contender entry\n";
	while (1) {
		my ($v, $index) = $self->get($self->{key}, %q);
		my ($s, $modified) = $self->_state($v);

		$self->renew;
		# A CAS whose reply was lost has put us in.
		return 1 if $s->{Holders}{$self->{session}};
		if (keys %{$s->{Holders}} >= $s->{Limit}) {
			$q{index} = $index;
			next;
		}
		delete $q{index};
		$s->{Holders}{$self->{session}} = 1;
		return 1 if $self->_store($s, $modified);
	}
}

sub release
{
	my ($self) = @_;

	while (1) {
		my ($v) = $self->get($self->{key}, recurse => undef);
		my ($s, $modified) = $self->_state($v);

		last if !delete $s->{Holders}{$self->{session}};
		last if $self->_store($s, $modified);
	}
	$self->ask('DELETE', "/v1/kv/$self->{key}/$self->{session}");
	$self->destroy_session;
	return 1;
}

1;
