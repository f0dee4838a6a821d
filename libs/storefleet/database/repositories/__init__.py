"""The repositories of one connection: everything that one transaction can read and write."""

from storefleet.database.connection import Connection
from storefleet.database.repositories.audit_log import AuditLog
from storefleet.database.repositories.cron_calls import CronCallRepository
from storefleet.database.repositories.dead_letters import DeadLetterRepository
from storefleet.database.repositories.event_history import EventHistory
from storefleet.database.repositories.idempotency_keys import IdempotencyKeyRepository
from storefleet.database.repositories.leases import LeaseRepository
from storefleet.database.repositories.observations import ObservationRepository
from storefleet.database.repositories.operations import OperationRepository
from storefleet.database.repositories.outbox import OutboxRepository
from storefleet.database.repositories.placements import PlacementRepository
from storefleet.database.repositories.sessions import SessionRepository
from storefleet.database.repositories.sign_in_failures import SignInFailureRepository
from storefleet.database.repositories.stores import StoreRepository
from storefleet.database.repositories.tenants import TenantRepository
from storefleet.database.repositories.tokens import TokenRepository
from storefleet.database.repositories.transitions import TransitionRepository
from storefleet.database.repositories.users import UserRepository
from storefleet.database.repositories.version_history import VersionHistory


class Repositories:
    """One repository per noun, all on the same connection and therefore in one transaction."""

    def __init__(self, connection: Connection) -> None:
        """Create the repositories.

        Args:
            connection: The connection of `Database.transaction` or `Database.autocommit`. It is
                kept as an attribute for tests; services use the repositories only.
        """
        self.connection = connection
        self.audit_log = AuditLog(connection)
        self.cron_calls = CronCallRepository(connection)
        self.dead_letters = DeadLetterRepository(connection)
        self.events = EventHistory(connection)
        self.idempotency_keys = IdempotencyKeyRepository(connection)
        self.leases = LeaseRepository(connection)
        self.observations = ObservationRepository(connection)
        self.operations = OperationRepository(connection)
        self.outbox = OutboxRepository(connection)
        self.placements = PlacementRepository(connection)
        self.sessions = SessionRepository(connection)
        self.sign_in_failures = SignInFailureRepository(connection)
        self.stores = StoreRepository(connection)
        self.tenants = TenantRepository(connection)
        self.tokens = TokenRepository(connection)
        self.transitions = TransitionRepository(connection)
        self.users = UserRepository(connection)
        self.version_history = VersionHistory(connection)
