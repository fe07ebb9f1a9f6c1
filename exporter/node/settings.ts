// SPDX-License-Identifier: Apache-2.0
/** The one way settings are checked: an object of known members, whose refusal names what is known. */
import { z } from 'zod';

/** An object that names what it knows where it finds something else: most mistakes are of spelling. */
export const settings = <Shape extends z.core.$ZodLooseShape>(
  shape: Shape,
): z.ZodObject<Shape, z.core.$strict> =>
  z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'unrecognized_keys'
        ? `unknown: ${issue.keys.join(', ')}; known: ${Object.keys(shape).join(', ')}`
        : 'expected settings',
  });
