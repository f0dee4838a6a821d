<?php
/** Replace the database's content by a dump, atomically. */

declare(strict_types=1);

namespace Storefleet;

require __DIR__ . '/../lib/task.php';
require __DIR__ . '/../lib/dumps.php';

Task::write_result( Dumps::open( Configuration::load() )->restore( Task::get_dump_name() ) );
