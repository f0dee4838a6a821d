<?php
/** A dump takes the place of everything that is in the database: all of it, or nothing. */

declare(strict_types=1);

namespace Storefleet;

require __DIR__ . '/../lib/task.php';
require __DIR__ . '/../lib/dumps.php';

Task::tell( Dumps::of( Configuration::current() )->restore( Task::dump() ) );
